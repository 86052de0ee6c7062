"""The page in a browser: what people click, read, print, and hear."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from browser import chromium
from orchestrator.api import outcome
from orchestrator.report.page.assemble import page as draw
from swept import made_up, sweep

VISIBLE = """selector => [...document.querySelectorAll(selector)]
    .filter(element => element.checkVisibility({visibilityProperty: true}))
    .map(element => element.innerText.trim())"""


@dataclass
class Opened:
    """A page in the browser, what it said on the console, and what it asked the network for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """Texts of what is visible of a selector."""
        return list(self.page.evaluate(VISIBLE, selector))


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study whose cells were all trained."""
    folder = tmp_path_factory.mktemp("swept")
    written = made_up(folder)
    sweep(written)
    (folder / "report.html").write_text(draw(outcome(written).results).html, "utf-8")
    return folder / "report.html"


@pytest.fixture(scope="module")
def opened(report: Path) -> Iterator[Open]:
    """Opens the page, 1280 wide and light unless asked otherwise."""
    with chromium() as browser:

        def open_(width: int = 1280, height: int = 900, **options: Any) -> Opened:
            page = browser.new_context(viewport={"width": width, "height": height}, **options).new_page()
            found = Opened(page)
            page.on("console", lambda message: found.said.append(message.text))
            page.on("pageerror", lambda error: found.said.append(str(error)))
            page.on("request", lambda request: found.asked.append(request.url))
            page.goto(report.as_uri())
            return found

        yield open_


SCORES = "section.table table"


def values(found: Opened, column: int) -> list[float]:
    """The numbers of a column of the scores that are visible, from top to bottom."""
    cells = found.texts(f"{SCORES} tbody tr > :nth-child({column + 1})")
    return [float(cell.split()[0]) for cell in cells if cell[0].isdigit()]


def test_a_click_sorts_every_column_and_another_turns_it_round(opened: Open) -> None:
    found = opened()
    buttons = found.page.query_selector_all(f"{SCORES} thead button")
    assert len(buttons) == 12
    for column, button in enumerate(buttons):
        button.click()
        heading = button.evaluate_handle("b => b.closest('th')").as_element()
        assert heading.get_attribute("aria-sort") == "ascending"
        up = values(found, column) if column else found.texts(f"{SCORES} tbody th")
        button.click()
        assert heading.get_attribute("aria-sort") == "descending"
        down = values(found, column) if column else found.texts(f"{SCORES} tbody th")
        if column:
            assert up == sorted(up) and down == sorted(up, reverse=True)
        else:
            assert down == up[::-1] != up
        assert len(found.page.query_selector_all(f"{SCORES} [aria-sort]")) == 1


def test_headings_are_reached_and_pressed_by_keyboard(opened: Open) -> None:
    found = opened()
    found.page.locator(f"{SCORES} thead button").nth(1).focus()
    found.page.keyboard.press("Enter")
    assert values(found, 1) == sorted(values(found, 1))
    found.page.keyboard.press("Space")
    assert values(found, 1) == sorted(values(found, 1), reverse=True)
    found.page.keyboard.press("Tab")
    assert found.page.evaluate("document.activeElement.closest('th').cellIndex") == 2


def test_rows_are_filtered_by_method_and_columns_by_region(opened: Open) -> None:
    found = opened()
    rows = f"{SCORES} tbody th"
    everything = len(found.texts(rows))
    found.page.get_by_label("controls").uncheck()
    assert found.texts(rows) == ["l1", "l1 + lds", "l1 + fds", "l1 + lds + fds", "l1 + sqinv"]
    found.page.get_by_label("lds", exact=True).check()
    assert found.texts(rows) == ["l1 + lds", "l1 + lds + fds"]
    assert found.texts("section.table output") == [f"2 of {everything} rows"]
    for region in ("All", "Natural", "Many", "Medium"):
        found.page.locator("section.table").get_by_label(region, exact=True).uncheck()
    heads = [text.split(" ↕")[0] for text in found.texts(f"{SCORES} thead th")]
    assert heads == ["Recipe", "MAE Few", "GM Few", "Seeds"]


def test_on_a_phone_few_stands_first_and_nothing_but_tables_moves_sideways(opened: Open) -> None:
    found = opened(390, 844, is_mobile=True, has_touch=True)
    wide, seen = found.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= seen == 390
    found.page.locator(SCORES).scroll_into_view_if_needed()
    box = found.page.locator(f"{SCORES} tbody tr:first-child td").first.bounding_box()
    assert found.texts(f"{SCORES} thead th")[1].startswith("MAE Few")
    assert box["x"] + box["width"] <= 390
    found.page.evaluate("document.querySelector('section.table .wide').scrollLeft = 300")
    name = found.page.locator(f"{SCORES} tbody tr:first-child th").bounding_box()
    assert 0 <= name["x"] < 30, "the recipe's name stays"


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of `rgb(r, g, b)`."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


COLOURS = """() => [...document.querySelectorAll('p, td, th, li, figcaption, a, h2, output, code')]
    .filter(element => element.getClientRects().length)
    .map(element => getComputedStyle(element).color)"""
LINES = """() => [...document.querySelectorAll('figure svg [stroke]:not([stroke-opacity])')]
    .map(element => getComputedStyle(element).stroke)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out_from_the_ground_in_light_and_in_dark(opened: Open, scheme: str) -> None:
    found = opened(color_scheme=scheme)
    ground = luminance(found.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    for least, script in ((4.5, COLOURS), (3.0, LINES)):
        colours = {colour for colour in found.page.evaluate(script) if colour != "none"}
        assert len(colours) > 1
        for colour in colours:
            low, high = sorted((ground, luminance(colour)))
            assert (high + 0.05) / (low + 0.05) >= least, colour


def test_it_prints_whole_on_paper(opened: Open) -> None:
    found = opened(color_scheme="dark")
    assert found.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    found.page.emulate_media(media="print")
    assert luminance(found.page.evaluate("getComputedStyle(document.body).backgroundColor")) == 1.0
    hidden = "e => e.scrollHeight > e.clientHeight + 1 && getComputedStyle(e).overflowY !== 'visible'"
    assert not found.page.evaluate(f"[...document.querySelectorAll('.wide, pre')].filter({hidden}).length")
    assert not found.texts("nav, .filters")
    found.page.set_viewport_size({"width": 1032, "height": 700})  # A4 on its side, without margins
    assert found.page.evaluate("document.documentElement.scrollWidth") <= 1032
    tall = "[...document.querySelectorAll('figure')].map(figure => figure.getBoundingClientRect().height)"
    assert max(found.page.evaluate(tall)) < 700


def test_nothing_is_asked_for_and_nothing_complains(opened: Open, report: Path) -> None:
    found = opened()
    found.page.locator(f"{SCORES} thead button").first.click()
    assert found.asked == [report.as_uri()]
    assert found.said == []
    found.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://example.org/x.png'}))")
    found.page.evaluate("document.body.setAttribute('style', 'color: red')")
    found.page.wait_for_timeout(50)
    assert len([text for text in found.said if "Content Security Policy" in text]) >= 2, "the policy holds"


def test_a_screen_reader_finds_names_for_everything(opened: Open) -> None:
    page = opened().page
    assert page.locator("main, nav, h1").count() == 3
    assert page.locator("html").get_attribute("lang") == "en"
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1
        assert table.locator("thead th:not([scope=col])").count() == 0
        assert table.locator("tbody tr").count() == table.locator("tbody th[scope=row]").count()
    figures = page.locator("figure svg").all()
    assert len(figures) >= 4
    for figure in figures:
        name = figure.get_attribute("aria-labelledby")
        assert figure.get_attribute("role") == "img"
        assert page.locator(f"title[id='{name}']").text_content()
        assert figure.locator("desc").first.text_content()
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, a')].filter(e => !(e.textContent || e.labels?.length)).length"
    )
    assert unnamed == 0
    headings = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(e => Number(e.tagName[1]))")
    assert all(after - before <= 1 for before, after in pairwise(headings))
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    anchors = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(e => e.getAttribute('href').slice(1))"
    )
    assert set(anchors) <= set(ids)


def test_without_script_it_is_complete_but_for_the_filters(opened: Open) -> None:
    with_script, without = opened(), opened(java_script_enabled=False)
    assert not without.texts(".filters") and not without.texts("thead button")
    body = "section.table tbody"
    assert without.page.locator(body).inner_text() == with_script.page.locator(body).inner_text()
    assert without.page.locator("section").count() == with_script.page.locator("section").count()
