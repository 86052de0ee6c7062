"""What is sent to workers, and what a worker refuses; it is sent to real ones in test_cluster.py."""

from pathlib import Path

import pytest

from orchestrator.engine.code_shipping import PACKAGES, OtherCode, check_code, code, parcel
from orchestrator.errors import BadInput


def test_a_worker_with_other_code_is_named_with_both_versions() -> None:
    check_code(code())
    with pytest.raises(OtherCode, match=r"has tailsweep \d.*\([0-9a-f]{8}\), the driver 0.0.1 \(deadbeef\); install"):
        check_code("0.0.1 (deadbeef)")


def test_packages_plugins_and_entry_points_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "alone.py").touch()
    (tmp_path / "family").mkdir()
    (tmp_path / "family" / "__init__.py").touch()
    (tmp_path / "installed.py").touch()
    told = tmp_path / "outside-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[tailsweep.methods]\nfine = installed:Fine\n")
    monkeypatch.syspath_prepend(tmp_path)
    made = tmp_path / "made"
    made.mkdir()
    *sent, last = map(Path, parcel(made, ["alone", "family.child"]))
    assert [path.name for path in sent] == [*PACKAGES, "alone.py", "family", "installed.py"]
    assert last.parent == made
    assert "fine = installed:Fine\n" in (last / "entry_points.txt").read_text()


def test_a_plugin_that_cannot_be_sent_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"one folder or one Python file: got 'sys'.*`ship: false`"):
        parcel(tmp_path, ["sys"])
