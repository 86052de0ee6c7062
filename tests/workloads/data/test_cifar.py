"""CIFAR's files: read without running anything in them, cut to a tail, trained through."""

import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from epochs import RECIPES, one_thread, train_one_epoch
from workloads import WORKLOADS
from workloads.data.cifar import CIFAR10, PIXELS, load
from workloads.data.longtail import long_tail_counts
from workloads.data.pickles import read_pickle
from workloads.encoders.small import conv_net
from workloads.loop import Fit
from workloads.recipe import Recipe
from workloads.training import settle
from workloads.workload import DataError, Table, Workload


def written(name: str, root: Path) -> Workload:
    """A workload whose fixture lies in a root."""
    workload = WORKLOADS[name]
    assert workload.fixture is not None
    workload.fixture(root)
    return workload


class Payload:
    """Pickles to a call of os.system that would leave a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


def python2(data: bytes, labels: list[int]) -> bytes:
    """The bytes that Python 2 writes for {"data": array [1, n] of bytes, "labels": […]}, as in the official files."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x01M"
        + struct.pack("<H", len(data))
        + b"\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(data))
        + data
        + b"tb"
    )
    numbers = b"".join(b"K" + bytes([n]) for n in labels)
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels](" + numbers + b"eu."


@pytest.mark.parametrize("name", ["cifar10-lt", "cifar100-lt"])
def test_a_fixture_loads_with_its_tail(tmp_path: Path, name: str) -> None:
    workload = written(name, tmp_path)
    data = workload.load(tmp_path)
    classes = workload.grid.bins
    assert workload.grid.counts(data.train.y.numpy()).tolist() == [129, 39] + [2] * (classes - 2)
    assert (len(data.val.y), len(data.test.y)) == (classes, 2 * classes)
    x = data.train.inputs(torch.arange(4), torch.device("cpu"))
    assert (x.shape, x.dtype) == ((4, 3, 32, 32), torch.uint8)


@pytest.mark.parametrize(("name", "recipe"), [*(("cifar10-lt", recipe) for recipe in RECIPES), ("cifar100-lt", "arb")])
def test_a_fixture_trains_and_scores_in_every_region(tmp_path: Path, name: str, recipe: str) -> None:
    small = conv_net((0.5,) * 3, (0.25,) * 3, (8, 16), (2, 2))  # the whole network is trained below
    train_one_epoch(replace(written(name, tmp_path), encoder=lambda data: small), tmp_path, recipe)


def test_an_interrupted_run_with_augmented_images_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    workload, recipe = written("cifar10-lt", tmp_path), Recipe.parse("arb + sqinv")
    data = workload.load(tmp_path)
    few = torch.arange(48)
    data = replace(data, train=Table(data.train.inputs(few, torch.device("cpu")), data.train.y[few]))
    settings = settle(recipe, workload.settings, {"train.epochs": 2, "train.keep": "last", "train.batch_size": 24})

    def fit() -> Fit:
        return Fit(workload, data, recipe, settings, 0, torch.device("cpu"))

    with one_thread():
        whole = fit()
        list(whole)
        first = fit()
        next(iter(first))
        state = first.state_dict()
        second = fit()
        second.load_state_dict(state)
        list(second)
        assert (whole.predict(data.test) == second.predict(data.test)).all()
    a, b = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_official_files_would_give_the_published_counts_but_for_the_first_class() -> None:
    for name, total, published in (("cifar10-lt", 12_406, 5000), ("cifar100-lt", 10_847, 500)):
        workload = WORKLOADS[name]
        classes = workload.grid.bins
        held = workload.counts["val"] // classes
        assert long_tail_counts(published, classes, 100).sum() == total
        assert workload.counts["train"] == total - held


def test_every_published_factor_has_a_name_and_a_cut_of_its_own(tmp_path: Path) -> None:
    sizes = {name: workload.counts["train"] for name, workload in WORKLOADS.items() if name.startswith("cifar10-lt")}
    assert list(sizes) == ["cifar10-lt", "cifar10-lt-200", "cifar10-lt-50", "cifar10-lt-20", "cifar10-lt-10"]
    assert sizes["cifar10-lt-200"] < sizes["cifar10-lt"] < sizes["cifar10-lt-50"] < sizes["cifar10-lt-10"]


def test_a_pickle_that_would_run_a_command_is_refused_and_the_command_does_not_run(tmp_path: Path) -> None:
    written("cifar10-lt", tmp_path)
    mark = tmp_path / "ran"
    bad = tmp_path / CIFAR10.folder / "data_batch_3"
    bad.write_bytes(pickle.dumps({b"data": Payload(mark), b"labels": []}))
    with pytest.raises(DataError, match=r"data_batch_3 must be a pickle of arrays.*asks for posix\.system"):
        WORKLOADS["cifar10-lt"].load(tmp_path)
    assert not mark.exists()
    pickle.loads(bad.read_bytes())  # the payload is real: an ordinary unpickler runs it
    assert mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        b"cbuiltins\neval\n(V1+1\ntR.",
        b"cbuiltins\ngetattr\n.",
        b"cnumpy\nload\n.",
        b"c_codecs\nencode\n.",
        b"cnumpy\ndtype\n(U\x01OtR.",
        b"Pelsewhere\n.",
        b"",
        b"\x80\x04",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": np.array([object()], dtype=object)}, protocol=4),
    ],
)
def test_what_is_no_table_of_arrays_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "batch"
    path.write_bytes(text)
    with pytest.raises(DataError, match="must be a pickle of arrays"):
        read_pickle(path)


def test_a_python_2_pickle_is_read_as_the_official_files_are_written(tmp_path: Path) -> None:
    data = bytes(n % 256 for n in range(PIXELS))
    path = tmp_path / "batch"
    path.write_bytes(python2(data, [7]))
    tree = read_pickle(path)
    assert tree["labels"] == [7]
    assert (tree["data"].shape, tree["data"].dtype) == ((1, PIXELS), np.uint8)
    assert tree["data"].tobytes() == data


@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numbers_come_back_as_they_were(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.array([[1, 2, 3], [4, 5, 6]], dtype=dtype, order="F" if order == "F" else "C")
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"a": array}, protocol=4))
    assert (read_pickle(path)["a"] == array).all()


def test_all_problems_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    written("cifar10-lt", tmp_path)
    folder = tmp_path / CIFAR10.folder
    (folder / "data_batch_1").unlink()
    (folder / "data_batch_2").write_bytes((folder / "data_batch_2").read_bytes()[:1000])
    tree = {b"data": np.zeros((2, PIXELS), np.uint8), b"labels": [3, 10]}
    (folder / "data_batch_4").write_bytes(pickle.dumps(tree, protocol=4))
    (folder / "data_batch_5").write_bytes(pickle.dumps({b"data": tree[b"data"][:, :5], b"labels": [1, 2]}, protocol=4))
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": tree[b"data"]}, protocol=4))
    with pytest.raises(DataError) as caught:
        WORKLOADS["cifar10-lt"].load(tmp_path)
    told = "\n".join(caught.value.problems)
    for part in (
        "data_batch_1 is missing",
        "data_batch_2 must be a pickle",
        "data_batch_4: row 1: class must be in 0 … 9: got 10",
        "data_batch_5: data must be bytes [N, 3072]: got (2, 5)",
        "test_batch: labels is missing",
    ):
        assert part in told
    assert len(caught.value.problems) == 5


def test_a_class_without_rows_is_named(tmp_path: Path) -> None:
    written("cifar10-lt", tmp_path)
    folder = tmp_path / CIFAR10.folder
    for path in folder.glob("data_batch_*"):
        tree = pickle.loads(path.read_bytes())
        keep = [row for row, c in enumerate(tree[b"labels"]) if c != 4]
        tree = {b"data": tree[b"data"][keep], b"labels": [tree[b"labels"][row] for row in keep]}
        path.write_bytes(pickle.dumps(tree, protocol=4))
    with pytest.raises(DataError, match="class 4 needs more than 1 rows"):
        WORKLOADS["cifar10-lt"].load(tmp_path)


def test_without_files_the_way_to_them_is_said(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(DataError, match=r"get cifar-10-python\.tar\.gz from https://www\.cs\.toronto\.edu"):
            load(CIFAR10, 100, root)
