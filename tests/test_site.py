"""The site of the documents: it builds strictly, its reference shows all that there is, its tutorial works."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from clusters.profile import Profile, profiles
from orchestrator.cli.main import COMMANDS
from orchestrator.study.spec import Study
from rooms import ROOT
from running import HUNG_S, command
from workloads import WORKLOADS
from workloads.data.custom.schema import KINDS
from workloads.encoders.named import ENCODERS

TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
KNOWN = {
    "reference-study.md": [*Study.model_fields, *(key for kind in KINDS.values() for key in kind.model_fields)],
    "reference-profile.md": [*Profile.model_fields, *profiles()],
    "reference-commands.md": [f"tailsweep {name}" for name in COMMANDS],
    "reference-data-sets.md": list(WORKLOADS),
    "reference-encoders.md": [name for kind in ENCODERS.values() for name in kind],
    "reference-python.md": ["Study", "sweep", "stream", "report", "Ledger", "load_model"],
}


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The hook that makes the reference pages."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_reference_page_names_all_that_there_is(reference: ModuleType) -> None:
    assert reference.PAGES.keys() == KNOWN.keys()
    for name, page in reference.PAGES.items():
        text = "\n".join(page())
        missing = [word for word in KNOWN[name] if not re.search(rf"(`|## ){re.escape(word)}\b", text)]
        assert not missing, f"{name} lacks {missing}"


def test_a_reference_page_shows_types_bounds_and_defaults(reference: ModuleType) -> None:
    text = "\n".join(reference.study())
    assert "| `tune` | [Tune](#tune) | as there |" in text
    assert "| `trials` | whole number ≥ 1 ≤ 10000 | `16` |" in text
    assert '| `sampler` | `tpe`, `random`, `grid`, `qmc`, `gp`, `cmaes`, `nsgaii` | `"tpe"` |' in text
    assert "| `uri` | text or null | `null` |" in text


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in tmp_path.glob("*.html"):
        text = page.read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?([^\s\">]+)", text)
        loaded += re.findall(r"<link[^>]*rel=\"?stylesheet\"?[^>]*href=\"?([^\s\">]+)|url\((http[^)]+)\)", text)
        assert not [place for place in map(str, loaded) if "//" in place], page.name
    landing = (tmp_path / "index.html").read_text("utf-8")
    assert "MAE Few" in landing and "What each method contributes" in landing and "-8<-" not in landing


@pytest.mark.slow
def test_the_commands_of_the_tutorial_work_in_their_order(tmp_path: Path) -> None:
    small = {"TAILSWEEP_TRAIN__EPOCHS": "1", "TAILSWEEP_TUNE__TRIALS": "1", "TAILSWEEP_EVALUATE__SEEDS": "1"}
    small["TAILSWEEP_TRACKING__ENABLED"] = "false"
    said = ""
    for kind, text in BLOCK.findall(TUTORIAL.read_text("utf-8")):
        if kind == "yaml":
            assert len(text.splitlines()) == 10
            (tmp_path / "flats.yaml").write_text(text, encoding="utf-8")
            continue
        lines = text.splitlines() if kind == "sh" else [f"python -c {shlex.quote(text)}"]
        for words in (shlex.split(line, comments=True) for line in lines):
            if "--trials" in words:
                words = [*words[: words.index("--trials")], "--trials", "1", "--seeds", "2"]
            run = command(*words[1:]) if words[0] == "tailsweep" else [sys.executable, *words[1:]]
            environment = {**os.environ, **small}
            done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
            said += done.stdout
    assert "train              2656\n" in said and "8/8 trials in the ledger, 0 failed" in said
    assert (tmp_path / "results" / "flats" / "report.html").is_file()
