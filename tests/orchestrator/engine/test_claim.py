"""A study's name belongs to one definition, also when several drivers start at once."""

import threading
from pathlib import Path

import pytest

from builders import study
from orchestrator.api import claim_name
from orchestrator.errors import BadInput
from orchestrator.storage.store import local_folder, open_store


def test_of_drivers_that_start_at_once_with_different_definitions_one_gets_the_name(tmp_path: Path) -> None:
    refused: list[int] = []
    start = threading.Barrier(6)

    def claim(epochs: int) -> None:
        made = study(storage=str(tmp_path), train={"epochs": epochs})
        start.wait()
        try:
            claim_name(made, open_store(str(tmp_path)), replace=False)
        except BadInput:
            refused.append(epochs)

    threads = [threading.Thread(target=claim, args=(epochs,)) for epochs in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5


def test_what_needs_a_disk_lies_in_the_storage_or_beside_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_folder("elsewhere/x") == tmp_path / "elsewhere" / "x"
    assert local_folder("s3://bucket/x") == tmp_path / "results"
