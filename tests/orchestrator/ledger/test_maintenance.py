"""Copying and checking ledgers, through the command line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builders import cell, record
from orchestrator.cli.main import main
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.parquet import to_parquet
from orchestrator.ledger.records import Record
from s3_server import bucket


def fill(storage: str, count: int = 4, start: int = 0) -> list[Record]:
    """A ledger with tuning and evaluate trials and their predictions."""
    ledger = Ledger(storage)
    made = []
    for number in range(start, start + count):
        trial, y = cell().trial("evaluate", number, {}), np.ones(3, np.float32)
        name = ledger.commit_predictions(trial.id, y, y + np.float32(number))
        made.append(record(trial, float(number), predictions=name))
    for one in made:
        ledger.commit(replace(one, trial_id=f"a{one.trial_id}", test=None, predictions=None), "tune")
        ledger.commit(one, "evaluate")
    return made


def same(one: str, other: str) -> bool:
    return Ledger(one).read().equals(Ledger(other).read()) and Ledger(one).store.keys("ledger/predictions/") == Ledger(
        other
    ).store.keys("ledger/predictions/")


def test_a_ledger_is_copied_to_s3_and_back_and_both_are_whole(
    s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there, back = str(tmp_path / "here"), bucket(s3), str(tmp_path / "back")
    fill(here)
    Ledger(here).compact("tune")
    fill(here, start=4)
    for source, target in ((here, there), (there, back)):
        assert main(["ledger", "copy", source, target]) == 0
        assert same(here, target)
        assert main(["ledger", "verify", target]) == 0
    said = capsys.readouterr().out
    assert "21 objects copied to s3://bucket-" in said
    assert said.count("16 records, 8 predictions, 0 damaged") == 2
    assert main(["ledger", "compact", there]) == 0
    assert "12 records compacted in s3://bucket-" in capsys.readouterr().out
    assert same(here, there)


def test_a_copy_that_was_cut_off_goes_on_and_a_complete_one_copies_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    fill(here)
    main(["ledger", "copy", here, there])
    capsys.readouterr()
    target = Ledger(there).store
    for key in (*target.keys("ledger/evaluate/")[:2], *target.keys("ledger/predictions/")[:1]):
        target.delete(key)
    assert main(["ledger", "copy", here, there]) == 0
    assert capsys.readouterr().out.startswith("3 objects copied")
    assert main(["ledger", "copy", here, there]) == 0
    assert capsys.readouterr().out.startswith("0 objects copied")
    assert same(here, there)


@pytest.mark.parametrize("compacted", ["neither", "here", "there", "both"])
def test_ledgers_that_share_trials_are_joined_compacted_or_not(tmp_path: Path, compacted: str) -> None:
    here, there, whole = (str(tmp_path / name) for name in ("here", "there", "whole"))
    fill(here, 4)
    fill(there, 3, start=2)
    fill(whole, 5)
    for name, storage in (("here", here), ("there", there)):
        if compacted in {name, "both"}:
            Ledger(storage).compact("evaluate")
            Ledger(storage).compact("tune")
    assert main(["ledger", "copy", here, there]) == 0
    assert same(there, whole)
    assert main(["ledger", "verify", there]) == 0


@pytest.mark.parametrize("compacted", [False, True])
def test_contents_that_differ_under_one_name_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], compacted: bool
) -> None:
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    (first, *_) = fill(here)
    Ledger(there).commit(replace(first, wall_s=99.0), "evaluate")
    if compacted:
        Ledger(here).compact("evaluate")
    assert main(["ledger", "copy", here, there]) == 2
    said = capsys.readouterr().err
    assert f"differ in ledger/evaluate/{first.trial_id}.0.parquet; copy into another storage" in said
    assert len(Ledger(there).store.keys("ledger/")) == 1


def test_damage_is_named_with_exit_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = str(tmp_path / "results")
    made = fill(storage, 6)
    ledger = Ledger(storage)
    store = ledger.store
    key = [f"ledger/evaluate/{one.trial_id}.0.parquet" for one in made]
    store.put(key[0], (store.get(key[0]) or b"")[:-9])
    store.put(key[1], store.get(key[2]) or b"")
    store.put(key[3], to_parquet(ledger.read("tune").slice(0, 1)))
    predictions = [f"ledger/predictions/{one.trial_id}.{one.predictions}.parquet" for one in made]
    store.delete(predictions[4])
    store.put(predictions[5], b"")
    ledger.commit(replace(made[5], attempt=2), "evaluate")
    assert main(["ledger", "verify", storage]) == 4
    said = capsys.readouterr().out
    for line in (
        f"damaged: {key[0]} in the ledger cannot be read",
        f"damaged: {key[1]} must hold one record, its own: it holds attempt 0 at trial {made[2].trial_id}",
        f"damaged: {key[3]} is not in the ledger's schema: it differs in test",
        f"damaged: {predictions[4]} is missing",
        f"damaged: {predictions[5]} in the ledger cannot be read: it is empty",
        f"damaged: attempt 2 at evaluate trial {made[5].trial_id} has no attempt 1 before it",
    ):
        assert line in said
    assert said.endswith(" 6 damaged\n")


def test_what_a_compaction_left_behind_is_a_note_and_no_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = str(tmp_path / "results")
    made = fill(storage)
    store = Ledger(storage).store
    kept = {key: store.get(key) or b"" for key in store.keys("ledger/evaluate/")}
    Ledger(storage).compact("evaluate")
    copies = [f"ledger/evaluate/{one.trial_id}.0.parquet" for one in made[:2]]
    store.put(copies[0], kept[copies[0]])
    store.put(copies[1], to_parquet(replace(made[1], wall_s=99.0).to_arrow("evaluate")))
    assert main(["ledger", "verify", storage]) == 0
    said = capsys.readouterr().out
    assert f"note: {copies[0]} is in ledger/compact/evaluate/000000.parquet too" in said
    assert (
        f"note: {copies[1]} differs from the record in ledger/compact/evaluate/000000.parquet, which was first" in said
    )


def test_a_storage_without_a_ledger_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in (["verify"], ["compact"], ["copy"]):
        arguments = [str(tmp_path / "none"), str(tmp_path / "target")][: 2 if action == ["copy"] else 1]
        assert main(["ledger", *action, *arguments]) == 2
        assert "there must be a ledger" in capsys.readouterr().err
