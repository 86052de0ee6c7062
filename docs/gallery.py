"""The gallery, made from swept studies: `make gallery` writes docs/gallery.md and docs/gallery/."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from orchestrator.api import Outcome, outcome, sweep
from orchestrator.errors import BadInput
from orchestrator.report.formats import markdown
from orchestrator.report.outputs import outputs
from orchestrator.report.sections import Section
from orchestrator.study.spec import Study

INDEX: Final = Path(__file__).with_suffix(".md")
PLACE: Final = Path(__file__).with_suffix("")
MOST_BYTES: Final = 3_000_000
"""Of all pages and pictures: every clone of the repository has them."""


SHOWN: Final[Mapping[str, str]] = {
    "quickstart": "Which of the four best-known methods helps the rare, high blood pressures, and is it more than "
    "re-weighting alone?",
    "stsb": "Does smoothing help sentence similarity, where scores pile up on multiples of 0.2? On STS-B-DIR, over "
    "frozen sentence vectors.",
    "docs/longtail-digits.yaml": "Does a loss that knows the class counts beat re-weighting on long-tailed digits, and "
    "do both add up? A part of the study `longtail`, with half of its settings.",
}
"""Studies as `tailsweep sweep` takes them, with what they ask."""
HEAD: Final = """# Gallery

Three studies that come with Tailsweep, with the whole page of each: tables, figures, settings, costs. What they taught
is what their verdicts say. `make gallery` makes these pages again. It trains what is missing, and needs the data of
`stsb` ([where from](sts-b.md)).
"""


def gallery(states: Mapping[str, Outcome]) -> tuple[str, dict[str, bytes]]:
    """The page of the gallery, and its files by name; raises BadInput where a study is not complete."""
    files: dict[str, bytes] = {}
    parts = [HEAD]
    for of, state in states.items():
        name = state.study.study
        if not state.whole or state.planner.left:
            raise BadInput(f"{name} must be complete in {state.ledger.store.uri}: sweep it first")
        made = {key: _bytes(content) for key, content in outputs(state.results).items()}
        files[f"{name}.html"] = made["report.html"]
        names = [section.table.workload for section in state.sections]
        pictures = {each: f"{each}-error-by-label.svg" for each in names}
        pictures = {each: picture for each, picture in pictures.items() if f"figures/{picture}" in made}
        files |= {f"{name}-{picture}": made[f"figures/{picture}"] for picture in pictures.values()}
        parts += [
            f"## {name}\n",
            f"{SHOWN.get(of, '')} [The page]({PLACE.name}/{name}.html); `tailsweep sweep {of}` makes it.\n",
            *(line for section in state.sections for line in _taught(name, section, pictures)),
        ]
    if (size := sum(map(len, files.values()))) > MOST_BYTES:
        raise BadInput(
            f"the gallery must have at most {MOST_BYTES:,} bytes: got {size:,}; show fewer studies or pictures"
        )
    return "\n".join(parts), files


def _taught(name: str, section: Section, pictures: Mapping[str, str]) -> Iterator[str]:
    """What a study taught on one of its data sets: its verdict, its picture, its main table."""
    table = section.table
    yield f"**What it taught on `{table.workload}`**\n"
    yield "\n".join(f"- {line}" for line in section.verdict) + "\n"
    if picture := pictures.get(table.workload):
        yield f"![error by label on {table.workload}]({PLACE.name}/{name}-{picture})\n"
    primary = tuple(column for column in table.columns if column[0] == table.primary[0])
    yield markdown(replace(table, columns=primary))


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def main(storage: str) -> None:
    """Sweep the studies in a storage, and write the gallery; a study without its data is told before any is swept."""
    studies = {of: Study.load(of, [f"storage={storage}", "tracking.enabled=false"]) for of in SHOWN}
    for study in studies.values():
        outcome(study, write=False)
    page, files = gallery({of: sweep(study) for of, study in studies.items()})
    INDEX.write_text(page, encoding="utf-8")
    PLACE.mkdir(exist_ok=True)
    for old in PLACE.iterdir():
        old.unlink()
    for name, content in files.items():
        (PLACE / name).write_bytes(content)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BadInput as err:
        sys.exit(f"gallery: {err}")
