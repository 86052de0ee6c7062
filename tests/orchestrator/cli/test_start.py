"""First steps: a study from a look at a table, schemas for editors, completion of shells, answers for programs."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from builders import study
from clusters.profile import Profile, profiles
from orchestrator import yaml12
from orchestrator.cli.main import main
from orchestrator.study.spec import Study, shipped


def write_table(path: Path, rows: int = 900) -> None:
    """Wages of people who are there three times each, with columns that a study has no use for."""
    random = np.random.default_rng(0)
    lines = ["row_id,person_id,age,town,remark,log_wage,wage"]
    for row in range(rows):
        wage = round(float(np.exp(random.normal(3, 0.6))), 2)
        age = "" if row % 9 == 0 else str(20 + row % 50)
        lines.append(f"{row},p{row // 3},{age},{('Rome', 'Oslo')[row % 2]},text {row},{float(np.log(wage))!r},{wage}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_first_study_is_written_with_comments_and_planned_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "Wages of 2020.csv")
    assert main(["init", "Wages of 2020.csv", "--target", "wage"]) == 0
    text = (tmp_path / "study.yaml").read_text("utf-8")
    tree: dict[str, Any] = yaml12.load(text, "study.yaml")
    (own,) = tree["workloads"]
    assert (tree["study"], own["name"]) == ("wages-of-2020", "wages-of-2020")
    assert own["group"] == "person_id"
    assert own["drop"] == ["row_id", "remark"]
    assert "# log_wage goes with wage almost perfectly" in text
    assert 10 <= np.ptp(np.exp([3 - 2.5 * 0.6, 3 + 2.5 * 0.6])) / own["bin_width"] <= 120
    capsys.readouterr()
    assert main(["plan", "study.yaml", "--json", "--storage", str(tmp_path / "results")]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert len(plan["cells"]) == 8
    assert main(["init", "Wages of 2020.csv", "--target", "wage"]) == 2
    assert "study.yaml is there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x,y\n1,2\n", "column 'wage' is missing; the file has x, y"),
        ("x,wage\n" + "1,2\n" * 50, "must vary to be predicted: all 50 rows have 2"),
        ("x,wage\n" + "1,2\n2,old\n" * 50, "row 2: wage is 'old'"),
        ("x,wage\n1,2\n3,4\n", "the val split is empty"),
    ],
)
def test_a_table_that_cannot_be_studied_is_one_message_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    assert main(["init", str(tmp_path / "t.csv"), "--target", "wage", "--out", str(tmp_path / "s.yaml")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "s.yaml").exists()


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert main(list(args)) == 0
    return json.loads(capsys.readouterr().out)


def test_the_schema_takes_every_study_that_is_shipped_and_no_unknown_key(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib import resources

    schema = printed(capsys, "schema", "study")
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    for name in shipped():
        text = (resources.files("orchestrator.study") / "shipped" / f"{name}.yaml").read_text("utf-8")
        check.validate(yaml12.load(text, name))
    tree = study().model_dump(mode="json", exclude_none=True)
    check.validate(tree)
    for wrong in ({**tree, "trails": 3}, {**tree, "workloads": ["nhanes-spb"]}, {**tree, "evaluate": {"seeds": 0}}):
        assert not check.is_valid(wrong)
    declared = {"name": "own", "type": "table", "file": "t.csv", "target": "y", "bin_width": 1}
    assert check.is_valid({**tree, "workloads": [declared]})
    assert not check.is_valid({**tree, "workloads": [{**declared, "bin_widht": 1}]})


def test_the_schema_takes_every_profile_that_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    check = jsonschema.Draft202012Validator(printed(capsys, "schema", "profile"))
    assert profiles()
    check.validate(Profile(name="here").model_dump(mode="json", exclude_none=True))
    assert not check.is_valid({"name": "here", "trget": "slurm"})


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_are_told_every_command(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("sweep", "predict", "--retry-failed"))
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=said, text=True, check=True)


def test_quiet_leaves_the_exit_code_and_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = study(storage=str(tmp_path), tracking={"enabled": True, "tracker": "tensorboard"})
    (tmp_path / "study.json").write_text(made.model_dump_json(), encoding="utf-8")
    assert main(["track", str(tmp_path / "study.json"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["track", str(tmp_path / "none.yaml"), "--quiet"]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_the_first_study_of_a_file_is_taken_by_the_model_of_studies(tmp_path: Path) -> None:
    from orchestrator.catalogue.first_study import first_study, look

    write_table(tmp_path / "t.csv", 300)
    text = first_study(look(str(tmp_path / "t.csv"), "wage"), "small", cores=1)
    assert Study.read(text, "it", environ={}).tune.trials >= 4
