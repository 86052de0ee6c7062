"""What a user, a file or a disk can do wrong: one line and a true exit code, and nothing is made on disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.errors import MESSAGE_CHARS

LONG = "a" * 300
STUDY = "study: tiny\nworkloads: [nhanes-sbp]\nrecipes: {also: [l1]}\n"
OWN = "{name: mine, type: table, file: a.csv, target: y, bin_width: 1}"


def told(capsys: pytest.CaptureFixture[str], args: list[str], code: int = 2) -> str:
    """The one line that a command ends with."""
    assert main(args) == code
    said = capsys.readouterr().err
    assert said.startswith("tailsweep: ")
    assert said.endswith("\n")
    assert said.count("\n") == 1
    assert len(said) < MESSAGE_CHARS + 100
    assert said.rstrip("\n").isprintable()
    return said


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["plan", "--storage", "~nobodyhere/x"], "got '~nobodyhere/x'"),
        (["plan", "--storage", "a\0b"], "must lead somewhere"),
        (["plan", "--storage", "{tmp}/" + LONG], "File name too long"),
        (["plan", "--storage", "{tmp}/file/below"], "Not a directory"),
        (["plan", "--storage", "{tmp}/loop/x"], "loop"),
        (["plan", "--storage", "s3://[bucket/x"], "s3://BUCKET/PREFIX: got"),
        (["plan", "--storage", "s3://bucket/x?endpoint_url=http://[x"], "s3://BUCKET/PREFIX: got"),
        (["plan", "--storage", "s3://bucket/x?endpoint_url=http://x:y"], "s3://BUCKET/PREFIX: got"),
        (["plan", "--storage", "ftp://x"], "is a folder or s3://"),
        (["plan", LONG], "no study file and no shipped study"),
        (["plan", LONG + ".yaml"], "must be a readable file: File name too long"),
        (["plan", "{tmp}/a\0.yaml"], "must be a readable file"),
        (["plan", "{tmp}/latin1.yaml"], "must be a text file in UTF-8: byte 7"),
        (["plan", "--set", f"data={LONG}"], "File name too long"),
        (["plan", "--set", "data=~nobodyhere"], "got '~nobodyhere'"),
        (["data", "check", "agedb-dir", "--root", "~nobodyhere"], "got '~nobodyhere'"),
        (["data", "preview", "nhanes-sbp", "--out", "{tmp}/file/x.png"], "choose another place by --out"),
        (["data", "make-fixture", "agedb-dir", "{tmp}/file/x"], "Not a directory"),
        (["ledger", "verify", "{tmp}/none"], "holds no trials"),
        (["ledger", "compact", "{tmp}/none"], "holds no trials"),
        (["report", "--storage", "{tmp}/none"], "there must be something to report"),
        (["status", "--stored", "tiny", "--storage", "{tmp}/none"], "no study 'tiny' in the storage"),
        (["status", "--stored", "../tiny", "--storage", "{tmp}"], "is named by its name: got '../tiny'"),
        (["sweep", "--shards", "0"], "--shards: must be a whole number from 1 to 10,000: got '0'"),
        (["sweep", "--shards", "-1"], "got '-1'"),
        (["submit", "--shards", "1e9"], "got '1e9'"),
        (["sweep", "--shard", "3/3"], "a shard is NUMBER/COUNT"),
        (["plan", "--set", "study=mlflow.db"], "must not be called like what every storage holds"),
        (["plan", "--set", "study=mlflow.db-wal"], "got 'mlflow.db-wal'"),
        (["plan", "--set", "study=ledger"], "got 'ledger'"),
        (["plan", "--set", "study=mlartifacts"], "got 'mlartifacts'"),
        (["plan", "--set", "tune={trials: 100000, parallel: 100000}"], "less than or equal to 10000: got 100000"),
        (["plan", "--set", "tune.parallel=257"], "tune.parallel: .*256: got 257"),
        (["plan", "--seeds", "100000000"], "evaluate.seeds: .*1000: got 100000000"),
        (["plan", "--set", f"workloads=[{OWN}, {OWN}]"], "names of their own: got 2 called 'mine'"),
        (["plan", "--set", f"workloads=[mine, {OWN}]"], "names of their own: got 2 called 'mine'"),
        (["plan", "--set", "study=" + "z" * 300_000], "study: "),
        (["plan", "--set", "tune=" + "[" + "1," * 9000 + "]"], "tune: "),
        (["plan", "--set", 'recipes.also=["\\e[2Jx"]'], r"\\x1b\[2Jx"),
        (["plan", "--set", "\x1b[2J=1"], r"\\x1b\[2J"),
        (["plan", "--plugin", "../x"], "is the name of a module"),
        (["plan", "--plugin", ".x"], "is the name of a module"),
        (["plan", "--plugin", "a..b"], "is the name of a module"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["plan", "--trials", "many"], "invalid int value: 'many'"),
    ],
    ids=lambda value: " ".join(value)[:50].replace("\0", "0") if isinstance(value, list) else "",
)
def test_bad_input_is_one_bounded_line_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "latin1.yaml").write_bytes(b"study: \xfc\n")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(tmp_path.rglob("*"))
    said = told(capsys, [arg.replace("{tmp}", str(tmp_path)) for arg in args])
    assert re.search(message, said), said
    assert sorted(tmp_path.rglob("*")) == before


def test_looking_makes_nothing_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["plan"], ["plan", "--json"], ["status"]):
        assert main(command) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('not\\x1b[2J today')", "RuntimeError: not"),
        ("def broken(:\n", "SyntaxError"),
        ("import sys\nsys.exit(0)\n", "SystemExit: 0"),
        ("METHODS = {3: object}\n", "a method's name is a word: got 3"),
        ("METHODS = {'x': 3}\n", "must be a subclass of workloads.seam.Method: got int"),
        ("METHODS = 3\n", "needs METHODS, a dict .*: got int"),
        ("METHODS = {}\n", "needs METHODS"),
        ("x = 1\n", "needs METHODS, a dict .*: got nothing"),
        ("import no_such_thing_here\n", "No module named 'no_such_thing_here'"),
    ],
)
def test_whatever_a_plugin_does_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    import re

    (tmp_path / "tiny.yaml").write_text(STUDY)
    name = f"hostile_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    said = told(capsys, ["plan", str(tmp_path / "tiny.yaml"), "--plugin", name, "--storage", str(tmp_path / "none")])
    assert name in said
    assert re.search(message, said), said


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"study": "tiny"}', "é".encode("latin-1")])
def test_a_damaged_definition_in_the_storage_is_a_failed_storage_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "study.json").write_bytes(data)
    said = told(capsys, ["status", "--stored", "tiny", "--storage", str(tmp_path)], 4)
    assert f"{tmp_path}/tiny/study.json is no definition of a study" in said
    (tmp_path / "tiny.yaml").write_text(STUDY)
    said = told(capsys, ["sweep", str(tmp_path / "tiny.yaml"), "--storage", str(tmp_path)], 4)
    assert "--replace" in said


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[]", b'{"study": {"study": "older"}}'])
@pytest.mark.parametrize("command", ["logs", "cancel", "status"])
def test_a_damaged_submission_is_a_failed_storage_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, command: str
) -> None:
    place = tmp_path / "quickstart" / "submissions" / "local.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    said = told(capsys, [command, "--cluster", "local", "--storage", str(tmp_path)], 4)
    assert f"{place} is not what tailsweep submit wrote" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_preview_onto_a_full_disk_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No space left on device" in told(capsys, ["data", "preview", "nhanes-sbp", "--out", "/dev/full"])


def test_output_that_its_encoding_cannot_hold_is_written_with_question_marks(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY.replace("l1", "l1 + lds"))
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "plan", str(tmp_path / "tiny.yaml")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "width              3 ? 15 step 2" in done.stdout.decode("ascii")
