// Sorting and filtering of the page's tables. Without it the page is complete.
"use strict";

/** What a cell is sorted by: its number, or its text. */
function key(row, place) {
  const cell = row.cells[place];
  return cell.dataset.order === undefined ? cell.textContent.trim() : Number(cell.dataset.order);
}

/** Order of two keys; numbers come before the text that stands where a number is missing. */
function compare(a, b, sign) {
  const numbers = [a, b].map((value) => typeof value === "number");
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
  return sign * (numbers[0] ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

/** Sort a table by the column of a heading, the other way round at the second click. */
function sort(heading) {
  const table = heading.closest("table");
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const place = heading.cellIndex;
  const rows = [...table.tBodies[0].rows].map((row) => [key(row, place), row]);
  rows.sort((a, b) => compare(a[0], b[0], down ? -1 : 1));
  table.tBodies[0].append(...rows.map((pair) => pair[1]));
}

/** Show the rows that have every ticked method, and the columns of the ticked regions. */
function filter(form) {
  const table = form.parentElement.querySelector("table");
  const chosen = (name) => [...form.querySelectorAll(`[name=${name}]:checked`)].map((box) => box.value);
  const [methods, control, regions] = ["method", "control", "region"].map(chosen);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const tags = (row.dataset.tags || "").split(" ");
    const is = tags.includes("control") ? control.length > 0 : methods.every((method) => tags.includes(method));
    row.hidden = !is;
    shown += is;
  }
  for (const cell of table.querySelectorAll("[data-region]")) cell.hidden = !regions.includes(cell.dataset.region);
  form.querySelector("output").textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
}

for (const table of document.querySelectorAll("table")) {
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(heading));
    heading.append(button);
  }
}
for (const form of document.querySelectorAll(".filters")) {
  form.hidden = false;
  form.addEventListener("change", () => filter(form));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(form);
}
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
