"""VADER: needs no data root."""

from pathlib import Path

import pytest
import torch

from training import EVERYTHING, fit, scored
from workloads import WORKLOADS
from workloads.data import vader
from workloads.workload import DataError

VALENCE = WORKLOADS["vader-valence"]


def test_an_epoch_with_every_kind_of_method_gives_metrics_in_every_region(tmp_path: Path) -> None:
    assert VALENCE.fixture is not None
    VALENCE.fixture(tmp_path)
    data = VALENCE.load(tmp_path)
    result = scored(fit(VALENCE, data, f"l1 {EVERYTHING}", {"train.epochs": 2}))
    assert all(result[region]["mae"] is not None for region in ("all", "many", "medium", "few"))


def test_words_tell_more_of_their_valence_than_the_median_does() -> None:
    data = VALENCE.load(None)
    assert len(data.train.y) + len(data.val.y) + len(data.test.y) == 7217
    counts = VALENCE.grid.counts(data.train.y.numpy())
    assert [int((VALENCE.shots.of_counts(counts) == region).sum()) for region in range(3)] == [29, 27, 17]
    result = scored(fit(VALENCE, data, "l1", {"train.epochs": 5}))
    mae = result["all"]["mae"]
    assert mae is not None and all(result[region]["mae"] is not None for region in ("many", "medium", "few"))
    assert mae < 0.75 * float((data.test.y - data.train.y.median()).abs().mean())


def test_the_splits_are_the_same_every_time_and_share_no_word() -> None:
    one, two = VALENCE.load(None), VALENCE.load(None)
    assert one.fingerprint == two.fingerprint
    assert torch.equal(one.test.y, two.test.y)
    rows = [part.inputs(torch.arange(len(part.y)), torch.device("cpu")) for part in (one.train, one.val, one.test)]
    assert sum(map(len, rows)) == 7217


def test_every_malformed_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "vader").mkdir()
    lines = [
        "good\t2.0\t1\t[2]",
        "bad\t-5\t1\t[]",
        "worse\tlow\t1\t[]",
        "worst\t-3",
        "good\t1.0\t1\t[1]",
        ":)\tx\t1\t[]",
    ]
    (tmp_path / "vader" / vader.LEXICON).write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        VALENCE.load(tmp_path)
    assert [problem.partition(f"{vader.LEXICON}:")[2] for problem in caught.value.problems] == [
        "2: valence must be a number from −4 to 4, found '-5'",
        "3: valence must be a number from −4 to 4, found 'low'",
        "4: expected 4 columns between tabs, found 2",
    ]
    (tmp_path / "vader" / vader.LEXICON).write_text("good\t2.0\t1\t[2]\n")
    with pytest.raises(DataError, match="no words are left for validation"):
        VALENCE.load(tmp_path)
