"""The wheel: one version, types, and a quickstart from an empty folder of a fresh environment."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from running import HUNG_S

ROOT = Path(__file__).parent.parent


def test_the_version_is_said_once_and_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert version("tailsweep") == project["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == project["version"]
    images = yaml.safe_load((ROOT / "clusters/kuberay/manifests/kustomization.yaml").read_text("utf-8"))["images"]
    assert images[0]["newTag"] == project["version"]
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"tailsweep {project['version']}\n"
    for package in ("orchestrator", "workloads", "clusters"):
        assert not re.search(r"__version__\s*=", (ROOT / package / "__init__.py").read_text("utf-8"))


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment_runs_the_quickstart_from_an_empty_folder(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source, fresh, empty = tmp_path / "source", tmp_path / "fresh", tmp_path / "empty"
    empty.mkdir()
    source.mkdir()
    for name in ("orchestrator", "workloads", "clusters", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(source)], check=True)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"{package}/py.typed" for package in ("orchestrator", "workloads", "clusters")} <= {*names}
    assert not [name for name in names if name.startswith("tests/")]
    shipped = {
        str(path.relative_to(ROOT))
        for package in ("orchestrator", "workloads", "clusters")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped <= {*names}

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True)
    (packages,) = fresh.glob("lib/python*/site-packages")
    subprocess.run(
        [*pip, "--python", str(fresh / "bin" / "python"), "install", "--quiet", "--no-deps", "--no-index", str(wheel)],
        check=True,
    )
    # The libraries of this environment, behind the fresh one's own packages; an editable install of ours is no folder
    # of libraries, and its hooks are not read from there.
    here = [path for path in sys.path if path.endswith("-packages") or (Path(path) / "ray").is_dir()]
    (packages / "libraries.pth").write_text("\n".join(path for path in here if Path(path) != ROOT))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=empty, env=environment, capture_output=True, text=True, check=False, timeout=HUNG_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    tailsweep, python = str(fresh / "bin" / "tailsweep"), str(fresh / "bin" / "python")
    where = "import orchestrator as o, workloads as w, clusters as c; print(o.__file__, w.__file__, c.__file__)"
    assert all(path.startswith(str(fresh)) for path in run(python, "-c", where).split())
    recipes = "recipes={also: [l1 + ranksim, l1 + distloss]}"  # those that the study's space names
    short = ("--trials", "1", "--seeds", "1", "--set", "train.epochs=1", "--set", recipes)
    assert "4/4 trials done, 0 running, 0 failed" in run(tailsweep, "sweep", "quickstart", *short)
    assert (empty / "results" / "quickstart" / "table.md").is_file()
