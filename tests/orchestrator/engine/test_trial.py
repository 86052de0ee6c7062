"""A trial on a worker."""

from pathlib import Path

import pytest

from orchestrator.engine.trial import data_here


def test_data_lie_where_the_driver_says_or_else_where_the_node_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILSWEEP_DATA", str(tmp_path / "own"))
    assert data_here(str(tmp_path)) == tmp_path
    assert data_here(str(tmp_path / "elsewhere")) == tmp_path / "own"
    assert data_here(None) is None, "data that come with a package"
    monkeypatch.delenv("TAILSWEEP_DATA")
    assert data_here(str(tmp_path / "elsewhere")) == tmp_path / "elsewhere"
