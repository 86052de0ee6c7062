"""Whatever is put in, a command ends with exit code 2, 3 or 4 and one line, and makes nothing."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.cli import main as command_line
from orchestrator.cli.guard import UNFORESEEN
from orchestrator.cli.main import main
from orchestrator.errors import BadInput, one_line
from workloads.methods import METHODS
from workloads.recipe import PARTS

BASE = "study: s\nworkloads: [nhanes-sbp]\nrecipes: {objectives: [l1]}\n"
OWN = (
    BASE.replace("{", "{{")
    .replace("}", "}}")
    .replace("nhanes-sbp", "{{name: m, type: table, file: {}, target: k, bin_width: 1}}")
)
LONG = "x" * 300
LINE = re.compile(r"tailsweep: [^\x00-\x1f\x7f-\x9f]+\n")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of the test's own, no settings of ours in the environment, and registries as they were."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TAILSWEEP_") and name != "TAILSWEEP_CACHE"]:
        monkeypatch.delenv(name)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "plain").write_text("")
    before = [(registry, dict(registry)) for registry in (METHODS, PARTS)]
    yield
    for registry, parts in before:
        registry.clear()
        registry.update(parts)


def refused(capsys: pytest.CaptureFixture[str], args: list[str], codes: tuple[int, ...] = (2,)) -> str:
    """The one line that a command tells; it left nothing in its folder."""
    there = sorted(Path().iterdir())
    code = main(args)
    said = capsys.readouterr().err
    assert code in codes, said
    assert LINE.fullmatch(said), said[:3000]
    assert len(said) < 2100
    assert sorted(Path().iterdir()) == there
    return said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: 2001-99-99\n", "'workloads' is required"),
        (BASE.replace("study: s", "study: 2001-01-01T00:00:00Z"), "study: string should match"),
        (BASE + "tune: {trials: 1, trials: 3}\n", "'trials' stands twice, in line 4"),
        (BASE + "study: t\n", "'study' stands twice, in line 1 and in line 4"),
        (BASE + "train: {lr: .nan}\n", "train.lr must be a finite number: got nan"),
        (BASE + "train: {nhanes-sbp: {lr: .inf}}\n", "train.nhanes-sbp.lr must be a finite number: got inf"),
        (BASE + "train: {lr: [1, 2]}\n", r"train.lr takes one value: got \[1, 2\]"),
        (BASE + "train: {lr: null}\n", "train.lr must be a number, a word"),
        (BASE + "train: 3\n", "train must be a mapping"),
        (BASE + "space: {train.lr: {low: .nan, high: 1}}\n", "space.train.lr.low must be a finite number: got nan"),
        (BASE + "space: {train.lr: {low: a, high: 1}}\n", "space.train.lr.low must be a number: got 'a'"),
        (BASE + "space: {train.lr: {lo: 1, high: 1}}\n", "unknown key 'lo' in space.train.lr.*did you mean 'low'"),
        (BASE + "space: {train.lr: {low: 1}}\n", "space.train.lr must have low and high"),
        (BASE + "space: {train.lr: {low: 1, high: 2, log: 3}}\n", "space.train.lr.log must be true or false: got 3"),
        (BASE + "space: {train.lr: [1, [2]]}\n", r"space.train.lr.1 must be a number, a word"),
        (BASE + "space: {train.lr: }\n", "space.train.lr must be .*one value: got null"),
        (BASE + "space: []\n", "space must be a mapping"),
        (BASE + f"zz: {'x' * 500_000}\n", "unknown key 'zz'"),
        (BASE + f"{'k' * 1_000}: 1\n", "unknown key 'kkk"),
        (BASE + f"storage: [{', '.join(['1'] * 15_000)}]\n", r"storage: input should be a valid string: got \[1, 1"),
        (BASE + '"\\e[2Jzz": 1\n', r"unknown key '\\x1b\[2Jzz'"),
        (BASE + "tune: {trials: 100000}\n", "tune.trials: .*less than or equal to 10000: got 100000"),
        (BASE + "tune: {parallel: 100000}\n", "tune.parallel: .*less than or equal to 256"),
        (BASE + "evaluate: {seeds: 100000}\n", "evaluate.seeds: .*less than or equal to 1000"),
        (BASE + "resources: {cpus: .inf}\n", "resources.cpus"),
        *[(BASE.replace(": s", f": {name}"), "what every storage holds") for name in ("mlflow.db", "ledger", "cache")],
        (BASE.replace("[nhanes-sbp]", "[1]"), "a workload is a name, or a mapping"),
        (BASE.replace("[nhanes-sbp]", "[{type: tabel}]"), "type of a data set must be one of"),
        (OWN.format("a").replace("}]", "}, {name: m, type: table, file: b, target: k, bin_width: 1}]"), "2 called 'm'"),
        (OWN.format("a").replace("}]", "}, m]"), "2 called 'm'"),
        (BASE.replace("[l1]", f"[l1], combine: [{', '.join(f'm{n}' for n in range(40))}]"), "at most 10,000 cells"),
        (BASE.replace("[l1]", "[l1], combine: [lds, lds]"), "must name every part once"),
        *[
            (OWN.format(file), "")
            for file in (LONG, '"a\\0b"', "~nobodyhere/x.csv", "loop", "loop/x", "/tmp", "plain/x")
        ],
    ],
)
def test_a_study_that_is_none_is_told_with_key_and_value(
    capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    Path("s.yaml").write_text(text, "utf-8")
    assert re.search(message, refused(capsys, ["plan", "s.yaml"]))


SET = ["plan", "--storage", "st", "--set"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["plan", LONG], "no study file and no shipped study"),
        (["plan", f"{LONG}.yaml"], "must be a readable file"),
        (["plan", "a\0b"], "no study file"),
        (["plan", "loop.yaml"], "must be a readable file"),
        *[
            (["plan", "--storage", place], "a path must lead somewhere")
            for place in ("~nobodyhere/x", "a\0b", "loop/x")
        ],
        *[([verb, "--storage", "plain/x"], "the storage folder must be") for verb in ("plan", "sweep", "status")],
        (["status", "--storage", LONG], "the storage folder must be readable"),
        (["plan", "--storage", "s3://[bucket/x"], "Invalid IPv6"),
        (["plan", "--storage", "s3://bucket/x?endpoint_url=http://[x"], "Invalid IPv6"),
        (["plan", "--storage", "s3://key:hunter2@bucket/x"], r"\*\*\*@bucket"),
        (["plan", "--storage", "http://u:hunter2@x/y"], r"\*\*\*@x"),
        ([*SET, "tune.trials=2001-99-99"], "tune.trials: .*got '2001-99-99'"),
        ([*SET, f"tune.trials={'9' * 5000}"], "at most 40 digits"),
        ([*SET, f"study={'x' * 3_000_000}"], "at most 1,048,576 characters"),
        ([*SET, "tune.trials=["], "must be YAML"),
        ([*SET, "plugins=[1]"], "plugins.0: .*got 1"),
        ([*SET, "data=~nobodyhere/x"], "a path must lead somewhere"),
        ([*SET, f"data={LONG}"], "name too long"),
        (["sweep", "--cluster-set", "start.num_cpus=["], "start.num_cpus.* must be YAML"),
        (
            ["sweep", "--cluster-set", "start.num_cpus=2001-99-99"],
            "start: num_cpus must be a number of at least 0: got .*2001-99-99",
        ),
        (["sweep", "--cluster-set", "name=../../x"], r"name: .*got '../../x'"),
        (["sweep", "--cluster-set", "environment={A-B: x}"], "environment.A-B: a variable has a name of ASCII letters"),
        (["sweep", "--cluster-set", 'secrets={A: "env:B\\nrm"}'], "secrets.A: a value of one line"),
        (["sweep", "--cluster-set", "secrets={A: 'env:$(rm)'}"], "secrets.A: a variable has a name"),
        (["sweep", "--cluster", f"{LONG}.yaml"], "must be a readable file"),
        (["sweep", "--cluster", "a\0.yaml"], "must be a readable file"),
        *[(["sweep", "--shards", n], "whole number from 1") for n in ("0", "-1", "1e3", "9" * 5000)],
        *[(["sweep", "--shard", n], "a shard is NUMBER/COUNT") for n in ("3/3", "1/0", "x", f"{'9' * 5000}/3")],
        (["plan", "--trials", "9" * 5000], "--trials"),
        (["paln"], "invalid choice"),
        ([], "required: COMMAND"),
        (["ledger", "verify", "NOWHERE"], "there must be a ledger"),
        (["ledger", "verify", "~nobodyhere"], "a path must lead somewhere"),
        (["ledger", "copy", "NOWHERE", "x"], "there must be a ledger"),
        (["report", "--storage", "NOWHERE"], "there must be something to report"),
        (["status", "--stored", "--storage", "NOWHERE"], "no study 'quickstart' in the storage"),
        (["status", "../../etc/passwd", "--stored", "--storage", "NOWHERE"], "a stored study is named by its name"),
        (["logs", "--storage", "NOWHERE"], "was not submitted"),
        *[(["data", "make-fixture", "agedb-dir", place], "") for place in ("plain/x", "/proc/x", "~nobodyhere", LONG)],
        (["data", "fetch", "sts-b-dir", "--root", "plain/x"], "must be a folder that can be written"),
        (["data", "list", "--root", "~nobodyhere"], "a path must lead somewhere"),
        (["data", "check", "mine", "--study", LONG], "no study file"),
    ],
)
def test_an_argument_that_does_not_do_is_told(
    capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    said = refused(capsys, args)
    assert re.search(message, said), said
    assert "hunter2" not in said


@pytest.mark.parametrize("value", ["2001-99-99", "[", "\0", "9" * 5000, "!!int x", "{a: 1, a: 2}", "x\x1b[2J"])
def test_a_variable_that_does_not_do_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "TAILSWEEP_RESOURCES__CPUS": value})
    assert "cpus" in refused(capsys, ["plan"]).lower()


def test_two_variables_for_one_key_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILSWEEP_TUNE__TRIALS", "1")
    monkeypatch.setenv("TAILSWEEP_tune__trials", "2")
    assert "set the same key" in refused(capsys, ["plan"])


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('no\\x1b[2J')",
        "raise SystemExit(0)",
        "import sys; sys.exit('bye')",
        "def f(:",
        "import no_such_module_anywhere",
        "METHODS = {3: int}",
        "METHODS = {'x': 3}",
        "METHODS = {}",
        "METHODS = [1]",
        "x = 1",
        "def f(): f()\nf()",
        "raise OSError(28, 'No space left on device')",
        "raise MemoryError",
        "raise RuntimeError('x' * 5_000_000)",
        "\0",
    ],
)
def test_a_plugin_that_fails_in_any_way_is_bad_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "hostile_plugin.py").write_text(code)
    try:
        assert "plugin" in refused(capsys, ["plan", "--plugin", "hostile_plugin"])
    finally:
        sys.modules.pop("hostile_plugin", None)


@pytest.mark.parametrize("name", ["../x", ".x", "", "a b", "x" * 3000, "a/b.py", "\x1b[2J"])
def test_a_plugin_is_the_name_of_a_module(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert "plugin" in refused(capsys, ["plan", "--plugin", name])


@pytest.mark.parametrize("content", [b"", b"junk", b"[]", b"{}", b"\xff\xfe", b"nan", b'{"study": 1}', b"[" * 9000])
def test_a_damaged_file_of_the_storage_is_told_with_its_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes
) -> None:
    folder = tmp_path / "st" / "s"
    (folder / "submissions").mkdir(parents=True)
    (folder / "study.json").write_bytes(content)
    assert "s/study.json" in refused(capsys, ["status", "s", "--stored", "--storage", "st"], (4,))
    Path("s.yaml").write_text(BASE)
    (folder / "submissions" / "local.json").write_bytes(content)
    args = ["logs", "s.yaml", "--cluster", "local", "--storage", "st"]
    assert "s/submissions/local.json" in refused(capsys, args, (4,))


def test_reading_commands_make_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    there = sorted(Path().iterdir())
    assert [main([verb, "--storage", "NOWHERE/deep"]) for verb in ("plan", "status")] == [0, 0]
    assert "0/252 trials in the ledger" in capsys.readouterr().out
    assert sorted(Path().iterdir()) == there


def test_paths_of_the_storage_are_taken_as_they_are_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert main(["plan", "--storage", "my #1: 'x'"]) == 0
    assert f"storage {tmp_path}/my #1: 'x'\n" in capsys.readouterr().out
    monkeypatch.setenv("TAILSWEEP_STORAGE", "my #2: {x")
    assert main(["plan"]) == 0
    assert f"storage {tmp_path}/my #2: {{x\n" in capsys.readouterr().out


def test_a_temporary_folder_that_is_too_long_for_sockets_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", f"/tmp/{'x' * 90}")
    assert re.search("set RAY_TMPDIR", refused(capsys, ["sweep", "--storage", "st"]))


def raising(err: BaseException) -> Callable[[object], int]:
    def command(args: object) -> int:
        """Fail."""
        raise err

    return command


@pytest.mark.parametrize(
    ("err", "code"),
    [
        (OSError(28, "No space left on device", "/x"), 4),
        (OSError(5, "Input/output error"), 4),
        (OSError(36, "File name too long", "x" * 5000), 2),
        (PermissionError(13, "Permission denied", "/x"), 2),
        (ConnectionRefusedError(111, "Connection refused"), 3),
        (TimeoutError("timed out"), 3),
        (MemoryError(), 2),
        (BadInput("a\nb\x1b[2Jc" + "d" * 10_000_000), 2),
    ],
)
def test_an_error_of_the_system_has_its_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, err: Exception, code: int
) -> None:
    monkeypatch.setitem(command_line.COMMANDS, "plan", raising(err))
    refused(capsys, ["plan"], (code,))


def test_what_nobody_foresaw_goes_into_a_private_file_and_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(command_line.COMMANDS, "plan", raising(KeyError("http://ann:hunter2@host/\x1b\nx")))
    said = refused(capsys, ["plan"], (UNFORESEEN,))
    assert "KeyError" in said
    assert "hunter2" not in said
    path = Path(said.rsplit(" ", 1)[1].strip())
    try:
        assert "Traceback" in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        path.unlink()


def test_an_output_that_takes_nothing_ends_no_command_in_a_traceback() -> None:
    with Path("/dev/full").open("wb") as sink:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator.cli", "completion", "bash"],
            stdout=sink,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 4, done.stderr
    assert done.stderr.count(b"\n") == 1


KEYS = [
    "study",
    "workloads",
    "recipes",
    "tune",
    "space",
    "train",
    "resources",
    "storage",
    "tracking",
    "evaluate",
    "data",
]
PIECES = [
    "nhanes-sbp",
    "l1",
    "lds",
    "trials",
    "low",
    "high",
    "objectives",
    "also",
    "train.lr",
    "lds.width",
    "~x",
    ".nan",
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(PIECES) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PIECES), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=4))
def test_any_mapping_is_a_study_or_one_message(tree: dict[str, object]) -> None:
    from orchestrator.study.spec import Study

    whole = {"study": "s", "workloads": ["nhanes-sbp"], "recipes": {"also": ["l1"]}, **tree}
    try:
        Study.of(whole)
    except BadInput as err:
        assert len(one_line(err)) <= 2000
        assert "pydantic" not in str(err).lower()
