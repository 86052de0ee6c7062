"""SST-2 and SST-5 from files in the official layout."""

from pathlib import Path

import numpy as np
import pytest
import torch

from epochs import RECIPES, train_one_epoch
from workloads import WORKLOADS
from workloads.data.glove import sentence_means
from workloads.workload import DataError

NAMES = ("sst2", "sst2-lt", "sst5", "sst5-lt")
CPU = torch.device("cpu")


def made(name: str, root: Path) -> Path:
    """The folder of a workload's fixture."""
    fixture = WORKLOADS[name].fixture
    assert fixture is not None
    fixture(root)
    return root / WORKLOADS[name].origin.folder


@pytest.mark.parametrize(
    ("name", "counts", "val"),
    [
        ("sst2", [147, 27], 26),
        ("sst2-lt", [147, 10], 26),
        ("sst5", [130, 60, 30, 30, 30], 25),
        ("sst5-lt", [130, 60, 30, 30, 10], 25),
    ],
)
def test_a_fixture_loads_with_its_tail(name: str, counts: list[int], val: int, tmp_path: Path) -> None:
    made(name, tmp_path)
    data = WORKLOADS[name].load(tmp_path)
    assert WORKLOADS[name].grid.counts(data.train.y.numpy()).tolist() == counts
    assert (len(data.val.y), len(data.test.y)) == (val, 5 * len(counts))
    assert data.train.inputs(torch.arange(2), CPU).shape == (2, 50)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("name", "empty"), [("sst2-lt", "medium"), ("sst5-lt", "zero")])
def test_a_fixture_trains_and_scores_in_every_region(name: str, empty: str, recipe: str, tmp_path: Path) -> None:
    made(name, tmp_path)
    train_one_epoch(WORKLOADS[name], tmp_path, recipe, empty)


def test_a_sentence_is_the_mean_of_its_known_words() -> None:
    means = sentence_means([["film"], ["Story"], ["film", "story"], ["film", "qqzzqqzz"], ["qqzzqqzz"], []])
    assert np.allclose(means[2], (means[0] + means[1]) / 2)
    assert (means[3] == means[0]).all()
    assert not means[4:].any()


def test_a_tree_gives_its_words_and_the_class_of_its_root(tmp_path: Path) -> None:
    folder = made("sst5", tmp_path)
    (folder / "trees/test.txt").write_text("(4 (2 (2 Great) (2 -LRB-)) (3 film))\n(0 (1 awful) (2 .))\n")
    data = WORKLOADS["sst5"].load(tmp_path)
    assert data.test.y.tolist() == [4.0, 0.0]
    wanted = sentence_means([["great", "(", "film"], ["awful", "."]])
    assert np.allclose(data.test.inputs(torch.arange(2), CPU).numpy(), wanted)


def test_every_bad_line_is_told_with_file_and_line(tmp_path: Path) -> None:
    folder = made("sst2", tmp_path)
    (folder / "SST-2/train.tsv").write_text("sentence\tlabel\ngood \t1\nno label\nbad \t2\n \t0\n")
    (folder / "SST-2/dev.tsv").write_text("index\tsentence\n0\tgood\n")
    with pytest.raises(DataError) as caught:
        WORKLOADS["sst2"].load(tmp_path)
    told = [problem.removeprefix(f"{folder}/SST-2/") for problem in caught.value.problems]
    assert told == [
        "train.tsv:3: expected sentence and label, found 1 columns",
        "train.tsv:4: label must be 0 or 1, found '2'",
        "train.tsv:5: expected sentence and label, found 1 columns",
        "dev.tsv:1: expected the columns 'sentence\\tlabel', found 'index\\tsentence'",
        "dev.tsv:2: label must be 0 or 1, found 'good'",
        "dev.tsv: it has no rows",
    ]


def test_bad_trees_and_empty_files_are_told_with_file_and_line(tmp_path: Path) -> None:
    folder = made("sst5", tmp_path) / "trees"
    (folder / "train.txt").write_text("(7 (2 a) (2 b))\n(3 (2 a) (2 b)\n(3 nothing here)\n")
    (folder / "dev.txt").write_text("\n")
    (folder / "test.txt").unlink()
    with pytest.raises(DataError) as caught:
        WORKLOADS["sst5"].load(tmp_path)
    assert [problem.removeprefix(f"{folder}/") for problem in caught.value.problems] == [
        "train.txt:1: a tree starts with '(' and a class in 0 … 4, found '(7 (2 a) (2 b))'",
        "train.txt:2: a tree closes its brackets, found 3 open and 2 closed",
        "train.txt:3: no words",
        "train.txt: it has no rows",
        "dev.txt: it has no rows",
        "test.txt is missing",
    ]


def test_without_files_the_way_to_them_is_said(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(DataError, match=r"get SST-2\.zip from https://dl\.fbaipublicfiles\.com"):
            WORKLOADS["sst2"].load(root)
