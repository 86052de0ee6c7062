"""Commands in a folder of somebody else, with keys in the environment: nothing there runs, nothing is told."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import Ledger
from running import tailsweep

FOREIGN = [
    *("boto3", "clusters", "email", "json", "matplotlib", "mlflow", "numpy", "optuna", "orchestrator", "orjson"),
    *("pandas", "pyarrow", "pydantic", "ray", "rich", "scipy", "setproctitle", "torch", "uvloop", "workloads", "yaml"),
]
"""Our packages, what we import, what that imports, and what it would import if it were there."""
STUDY = """
study: guest
workloads: [nhanes-sbp]
recipes: {also: [l1 + quiet]}
tune: {trials: 1}
evaluate: {seeds: 1}
train: {epochs: 1}
plugins: [quiet]
"""
PLUGIN = """
import os
import sys
from pathlib import Path
from workloads.seam import Method

class Quiet(Method):
    '''Tells what is on the path of the process that trains, and which keys it has.'''
    source = "made up"

    def fit(self, train):
        Path({seen!r}).write_text("\\n".join([os.environ["AWS_SECRET_ACCESS_KEY"], *sys.path]))

METHODS = {{"quiet": Quiet}}
"""
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAPLANTED", "AWS_SECRET_ACCESS_KEY": "planted/secret", "AWS_SESSION_TOKEN": "planted-t"}


def plant(folder: Path) -> Path:
    """Files that write into the returned one when they are imported."""
    ran = folder.parent / "ran"
    for name in FOREIGN:
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r} + ' ')\n")
    return ran


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A foreign folder, which is the current one."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def sessions() -> Iterator[Path]:
    """A place for Ray's sessions that everybody may look into, with a path that is short enough."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def run(*args: str | Path, **environment: str) -> str:
    """As `tailsweep` does, whose own folder is that of the script."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "orchestrator.cli", *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_module_of_the_current_folder_is_not_taken_for_an_installed_one(guest: Path) -> None:
    ran = plant(guest)
    for name in ("orchestrator", "email", "json"):  # python itself imports these with -m, before any of our code
        (guest / f"{name}.py").unlink()
    assert "3 settings" in tailsweep("plan", "quickstart", "--trials", "3", "--storage", guest / "out")
    assert not ran.exists()


@pytest.mark.slow
def test_a_sweep_in_a_foreign_folder_runs_nothing_of_it_and_tells_no_keys(guest: Path, sessions: Path) -> None:
    ran, home, seen = plant(guest), guest.parent / "home", guest.parent / "seen"
    home.mkdir()
    (guest / "study.yaml").write_text(STUDY)
    (guest / "quiet.py").write_text(PLUGIN.format(seen=str(seen)))
    inside = {"HOME": str(home), "RAY_TMPDIR": str(sessions), **KEYS}
    storage = ("--storage", guest / "out")

    run("plan", "study.yaml", *storage, **inside)
    run("submit", "study.yaml", *storage, "--follow", **inside)  # a script, a driver, Ray, workers and the report
    run("sweep", "study.yaml", *storage, **inside)  # complete: the tracker alone has work
    for command in ("status", "report", "track", "logs"):
        run(command, "study.yaml", *storage, **inside)
    run("data", "list", **inside)
    run("ledger", "verify", guest / "out", **inside)

    assert not ran.exists(), ran.read_text()
    key, *path = seen.read_text().splitlines()
    assert key == KEYS["AWS_SECRET_ACCESS_KEY"], "workers of this machine have the credentials of the driver"
    assert str(guest) not in path, "a plugin is loaded by its file"
    assert Ledger(str(guest / "out")).read("evaluate")["status"].to_pylist() == ["completed"]

    (session,) = sessions.iterdir()
    assert stat.S_IMODE(session.stat().st_mode) == 0o700
    logs = [path for path in session.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "runtime_env_agent.log" for path in logs)
    for path in (*logs, *(path for path in (guest / "out").rglob("*") if path.is_file())):
        content = path.read_bytes()
        assert not any(key.encode() in content for key in KEYS.values()), path
    assert stat.S_IMODE((home / ".ray" / "auth_token").stat().st_mode) == 0o600
