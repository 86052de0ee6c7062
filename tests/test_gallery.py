"""The gallery says what the verdicts of its studies say, and stays small."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator.api import outcome
from orchestrator.errors import BadInput
from rooms import ROOT
from swept import made_up, sweep

LINK = re.compile(r"\]\(gallery/([\w.-]+)\)")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """What `make gallery` runs."""
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_study_is_shown_with_its_page_its_picture_and_what_its_verdict_says(
    script: ModuleType, tmp_path: Path
) -> None:
    study = made_up(tmp_path, recipes={"also": ["l1", "l1 + lds"]}, tune={"trials": 1})
    with pytest.raises(BadInput, match=r"must be complete in .*: sweep it first"):
        script.gallery({"own.yaml": outcome(study, write=False)})
    sweep(study)
    state = outcome(study, write=False)
    index, files = script.gallery({"own.yaml": state})
    (section,) = state.sections
    assert section.verdict and all(f"- {line}\n" in index for line in section.verdict)
    assert "`tailsweep sweep own.yaml` makes it" in index
    assert set(LINK.findall(index)) == files.keys()
    for row in section.table.rows:
        assert f"| {row.recipe} |" in index


def test_the_gallery_is_small_and_whole(script: ModuleType) -> None:
    files = {path.name: path for path in script.PLACE.iterdir()}
    assert sum(path.stat().st_size for path in files.values()) <= script.MOST_BYTES
    index = script.INDEX.read_text("utf-8")
    assert set(LINK.findall(index)) == files.keys()
    assert [of for of, asks in script.SHOWN.items() if asks not in index or f"tailsweep sweep {of}`" not in index] == []
