"""Figures that are drawn no more are removed, and nothing else."""

from pathlib import Path

import pytest

from orchestrator.report.replaced import MANIFEST, replaced
from orchestrator.storage.store import LocalStore


def put(store: LocalStore, **files: bytes) -> dict[str, bytes]:
    written = {f"figures/{name}.svg": content for name, content in files.items()}
    for name, content in written.items():
        store.put(f"s/{name}", content)
    replaced(store, "s", written)
    return written


def figures(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "s" / "figures").glob("*.svg")}


def test_a_figure_of_the_last_report_goes_and_that_of_somebody_else_stays(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("s/figures/mine.svg", b"mine")
    put(store, one=b"1", two=b"2", three=b"3")
    store.put("s/figures/two.svg", b"changed by hand")
    put(store, three=b"new")
    assert figures(tmp_path) == {"mine", "two", "three"}
    assert (tmp_path / "s/figures/three.svg").read_bytes() == b"new"


@pytest.mark.parametrize(
    "manifest", [b"", b"no JSON", b"[1]", b'{"figures/mine.svg": 3, "table.md": "00", "figures/../table.md": "00"}']
)
def test_a_manifest_that_is_none_removes_nothing(tmp_path: Path, manifest: bytes) -> None:
    store = LocalStore(tmp_path)
    store.put("s/figures/mine.svg", b"mine")
    store.put("s/table.md", b"mine")
    store.put(f"s/{MANIFEST}", manifest)
    put(store, one=b"1")
    assert figures(tmp_path) == {"mine", "one"}
    assert (tmp_path / "s/table.md").exists()


def test_a_report_with_the_same_figures_writes_the_same_manifest(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    put(store, one=b"1", two=b"2")
    before = store.get(f"s/{MANIFEST}")
    put(store, one=b"1", two=b"2")
    assert store.get(f"s/{MANIFEST}") == before
