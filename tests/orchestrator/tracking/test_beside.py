"""The tracker beside a sweep: what the end of a sweep waits for."""

import io
import socket
import time
from pathlib import Path

import pytest
from rich.console import Console

from builders import study
from orchestrator.tracking._beside import beside
from running import processes, slay


@pytest.mark.filterwarnings("ignore:.*subprocess.*:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_does_not_answer_is_left_to_the_tracker_at_the_end_of_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.tracking._beside.LAST_S", 0.5)
    told = io.StringIO()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        made = study(storage=str(tmp_path), tracking={"uri": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        written = tmp_path / made.study / "study.json"
        written.parent.mkdir()
        written.write_text(made.model_dump_json(), encoding="utf-8")
        try:
            with beside(made, Console(file=told, width=200)):
                began = time.monotonic()
            assert time.monotonic() - began < 60, "it would wait for minutes otherwise"
            (left,) = processes(str(written).encode())
        finally:
            for pid in processes(str(written).encode()):
                slay(pid)
    assert left
    assert told.getvalue().splitlines() == [
        "MLflow is behind: it takes what it is sent slowly, and is still being sent to",
        "`tailsweep track tiny` completes it; the results are safe.",
    ]
