import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.main import main


def test_help_answers_without_the_heavy_libraries() -> None:
    script = (
        "import sys, orchestrator.cli.main as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pyarrow', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "sweep" in done.stdout


def test_a_plan_says_cells_trials_and_ranges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "quickstart", "--storage", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "18 cells, 252 trials" in said
    steps = "5 settings (1 default + 3 random + 1 by TPE), the best 2 again with 2 seeds each, 5 seeds of the selected"
    assert steps in said
    assert "nhanes-sbp/l1 + lds + fds + ranksim + distloss: lds.kernel" in said
    assert "only if lds.kernel = gaussian or laplace" in said


def test_output_that_nobody_reads_ends_a_command_without_a_traceback() -> None:
    command = [sys.executable, "-m", "orchestrator.cli", "completion", "bash"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_a_plan_says_what_a_budget_reaches_for_and_who_comes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "study: s\nworkloads: [nhanes-sbp]\nrecipes: {also: [l1, l1 + fds]}\ntrain: {epochs: 8}\n"
        "tune: {trials: 16, budget: per_axis, scheduler: halving}\nbudget: {trials: 60}\npriority: [l1 + fds]\n"
    )
    assert main(["plan", str(path), "--storage", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "budget: 60 of at most 86 trials; cells are completed one after another, in the order below" in said
    assert "8 trials at a time are compared after 2 and 4 of 8 epochs, one in 2 goes on" in said
    assert said.index("nhanes-sbp/l1 + fds, 48 settings, priority 1: ") < said.index("nhanes-sbp/l1, 16 settings: ")
    assert main(["plan", str(path), "--storage", str(tmp_path), "--set", "budget.trials=26"]) == 2
    assert "budget.trials must reach for one cell: got 26, and the smallest, nhanes-sbp/l1, needs 27" in (
        capsys.readouterr().err
    )


def test_a_plan_can_be_read_by_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "quickstart", "--storage", str(tmp_path), "--json", "--trials", "8"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["budget"] == {"tune": 8, "rescore": 4, "evaluate": 5}
    assert plan["trials"] == 18 * 17 == sum(cell["trials"] for cell in plan["cells"])
    assert len(plan["cells"]) == 18


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sweep", "quickstrat"], "did you mean 'quickstart'"),
        (["sweep", "--trials", "0"], "tune.trials: input should be greater than or equal to 1: got 0"),
        (["sweep", "--seeds", "0"], "evaluate.seeds"),
        (["sweep", "--address", "ray://127.0.0.1:10001"], "ray:// is not for Tune"),
        (["sweep", "--address", "127.0.0.1:1"], "the Ray cluster at 127.0.0.1:1 must answer"),
        (["sweep", "--address", "nonsense"], "a Ray address is host:port"),
        (
            ["sweep", "--cluster", "loca"],
            "unknown cluster profile 'loca' .* known: .*local, .*ray.* .did you mean 'local'",
        ),
        (["plan", "--set", "workloads=[nhanes-spb]"], "no workload 'nhanes-spb'"),
        (["plan", "--plugin", "no_such_module"], "cannot import plugin 'no_such_module'"),
        (["sweep", "--set", "resources.gpus=-1"], "resources.gpus"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    import re

    assert main([*args, "--storage", str(tmp_path / "results")]) == 2
    said = capsys.readouterr()
    assert re.search(message, said.err), said.err
    assert said.err.startswith("tailsweep: ")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "results" / "ledger").exists()


def test_a_storage_that_cannot_be_written_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["sweep", "--storage", str(tmp_path / "file" / "x")]) == 2
    assert "choose another with --storage" in capsys.readouterr().err


def test_missing_and_malformed_data_is_named_by_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data" / "nhanes"
    folder.mkdir(parents=True)
    table = folder / "NHANES_data_2017-2018.tsv"
    args = ["plan", "--storage", str(tmp_path / "results"), "--set", f"data={tmp_path / 'data'}"]
    header = "SEQN\tSystolicBloodPres2NdRdgMmHg\tAgeInYearsAtScreening\tGender\n"
    table.write_text(header + "1\t120\t50\tMale\n2\t13O\t40\tFemale\n")
    assert main(args) == 2
    assert "NHANES_metadata_2017-2018.tsv is missing" in capsys.readouterr().err
    (folder / "NHANES_metadata_2017-2018.tsv").write_text("VariableNameLong\tSource\n")
    assert main(args) == 2
    assert f"{table}:3: SystolicBloodPres2NdRdgMmHg must be a number, found '13O'" in capsys.readouterr().err
    table.write_text(header + "1\t120\t50\n")
    assert main(args) == 2
    assert f"{table}:2: expected 4 columns, found 3" in capsys.readouterr().err
    table.write_text("SEQN\tAgeInYearsAtScreening\tGender\n")
    assert main(args) == 2
    assert "column SystolicBloodPres2NdRdgMmHg is missing" in capsys.readouterr().err
