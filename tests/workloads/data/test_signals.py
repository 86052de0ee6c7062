"""Recordings: three file formats, one layout, and nobody in two splits."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyedflib
import pytest
import torch

import cached
from training import EVERYTHING, fit, scored
from workloads import WORKLOADS
from workloads.data import signals
from workloads.data.signal_folder import _scale
from workloads.encoders.signals import NightEncoder
from workloads.workload import DataError, Workload

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("cache")


def made(name: str, root: Path) -> Workload:
    workload = WORKLOADS[name]
    assert workload.fixture is not None
    workload.fixture(root)
    return workload


def edit(path: Path, **lines: str) -> None:
    """Replace lines of a text file, `line_3="…"`."""
    text = path.read_text().splitlines()
    for name, line in lines.items():
        text[int(name.removeprefix("line_")) - 1] = line
    path.write_text("\n".join(text) + "\n")


@pytest.mark.parametrize("name", ["ecg-k-dir", "shhs-dir"])
def test_an_epoch_with_every_kind_of_method_gives_metrics_in_every_region(name: str, tmp_path: Path) -> None:
    workload = made(name, tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # beside other work, threads wait for one another longer than small batches take
    data = workload.load(tmp_path)
    result = scored(fit(workload, data, f"l1 {EVERYTHING}", {"train.epochs": 2, "train.batch_size": 64}))
    torch.set_num_threads(before)
    assert all(scores["mae"] is not None for scores in result.values())
    assert set(result) == {"all", "many", "medium", "few", "zero"}
    assert data.fingerprint == workload.load(tmp_path).fingerprint


def test_half_precision_trains_too(tmp_path: Path) -> None:
    workload = made("shhs-dir", tmp_path)
    result = scored(fit(workload, workload.load(tmp_path), "l1", {"train.batch_size": 64, "train.precision": "bf16"}))
    assert result["all"]["mae"] is not None


def test_one_file_per_record_is_the_same_as_one_file_of_all(tmp_path: Path) -> None:
    workload = made("ecg-k-dir", tmp_path)
    packed = workload.load(tmp_path)
    folder = tmp_path / "ecg-k-dir"
    (folder / "records").mkdir()
    with np.load(folder / "records.npz") as file:
        for name in file.files:
            np.save(folder / "records" / f"{name}.npy", file[name])
    (folder / "records.npz").unlink()
    single = workload.load(tmp_path)
    assert single.fingerprint == packed.fingerprint
    rows = torch.tensor([5, 0, 130])
    assert torch.equal(single.train.inputs(rows, CPU), packed.train.inputs(rows, CPU))
    everything = single.train.inputs(torch.arange(len(single.train.y)), CPU)
    assert everything.shape == (134, 12, 250)
    assert float(everything.mean()) == pytest.approx(0.0, abs=0.05)
    assert float(everything.std()) == pytest.approx(1.0, abs=0.05)


def table(folder: Path, target: str, value: float) -> None:
    (folder / "records").mkdir(parents=True)
    rows = [f"{split}{i},{value},{split}" for split in signals.SPLITS for i in range(2)]
    (folder / "labels.csv").write_text("\n".join([f"record,{target},split", *rows]) + "\n")


def test_wfdb_records_are_found_by_lead_and_resampled(tmp_path: Path) -> None:
    folder = tmp_path / "ecg-k-dir"
    table(folder, "potassium", 4.2)
    names = [*reversed(signals.LEADS), "PLETH"]
    time = np.arange(1000) / 500
    wave = np.stack([np.sin(2 * np.pi * (i + 1) * time) for i in range(len(names))], axis=1)
    for split in signals.SPLITS:
        for i in range(2):
            with signals.wfdb_library() as wfdb:
                place = str(folder / "records")
                wfdb.wrsamp(f"{split}{i}", 500, ["mV"] * 13, names, wave, fmt=["16"] * 13, write_dir=place)
    data = WORKLOADS["ecg-k-dir"].load(tmp_path)
    x = data.val.inputs(torch.tensor([1]), CPU)[0]
    assert x.shape == (12, 500)
    lead_v6 = torch.from_numpy(np.sin(2 * np.pi * np.arange(500) / 250)).float()
    assert float(torch.corrcoef(torch.stack([x[11], lead_v6]))[0, 1]) > 0.999
    for split in signals.SPLITS:
        cached.garble(folder / "records" / f"{split}1.dat")
    assert torch.equal(WORKLOADS["ecg-k-dir"].load(tmp_path).val.inputs(torch.tensor([1]), CPU)[0], x)
    os.utime(folder / "records" / "val1.dat")  # what a new file would do
    assert not torch.equal(WORKLOADS["ecg-k-dir"].load(tmp_path).val.inputs(torch.tensor([1]), CPU)[0], x)
    (folder / "records" / "val1.dat").unlink()
    with pytest.raises(DataError, match=r"labels.csv:5: record 'val1' cannot be used: its signal file val1.dat is mis"):
        WORKLOADS["ecg-k-dir"].load(tmp_path)


def test_edf_nights_are_found_by_channel_and_resampled(tmp_path: Path) -> None:
    folder = tmp_path / "shhs-dir"
    table(folder, "score", 77)
    rates = {"SaO2": 1, "THOR RES": 10, "EEG": 125, "ECG": 250}
    for split in signals.SPLITS:
        for i in range(2):
            path = folder / "records" / f"{split}{i}.edf"
            with warnings.catch_warnings(), pyedflib.EdfWriter(str(path), len(rates)) as writer:
                warnings.simplefilter("ignore")
                for place, (label, rate) in enumerate(rates.items()):
                    header = {"label": label, "dimension": "uV", "sample_frequency": rate, "transducer": ""}
                    limits = {"physical_min": -2, "physical_max": 2, "digital_min": -32768, "digital_max": 32767}
                    writer.setSignalHeader(place, {**header, **limits, "prefilter": ""})
                writer.writeSamples([np.sin(np.arange(60 * rate) / rate) for rate in rates.values()])
    data = WORKLOADS["shhs-dir"].load(tmp_path)
    x = data.train.inputs(torch.tensor([0, 1]), CPU)
    assert x.shape == (2, 3, 3000)
    expected = torch.from_numpy(np.sin(np.arange(3000) / 50)).float()
    for channel in x[0]:
        assert float(torch.corrcoef(torch.stack([channel, expected]))[0, 1]) > 0.99
    cached.garble(folder / "records" / "train1.edf", keep=5000)  # the header and the first seconds
    assert torch.equal(WORKLOADS["shhs-dir"].load(tmp_path).train.inputs(torch.tensor([0, 1]), CPU), x)
    os.utime(folder / "records" / "train1.edf")
    assert not torch.equal(WORKLOADS["shhs-dir"].load(tmp_path).train.inputs(torch.tensor([0, 1]), CPU), x)
    (folder / "records" / "test0.edf").write_bytes(b"no EDF")
    with pytest.raises(DataError, match=r"labels.csv:6: record 'test0' cannot be used"):
        WORKLOADS["shhs-dir"].load(tmp_path)


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    workload = made("ecg-k-dir", tmp_path)
    path = tmp_path / "ecg-k-dir" / "labels.csv"
    edit(
        path,
        line_2="r000,nan,train,a",
        line_3="r001,12.0,train,b",
        line_4="r002,low,train,c",
        line_5="r003,4.1,holdout,d",
        line_6="r004,4.1,train",
        line_7="r006,4.1,train,e",
        line_9="nobody,4.1,train,f",
        line_10="../labels,4.1,train,g",
        line_11="r009,4.1,val,h",
        line_12="r010,4.1,train,h",
    )
    with pytest.raises(DataError) as caught:
        workload.load(tmp_path)
    told = [problem.removeprefix(f"{path}:") for problem in caught.value.problems]
    for line, expected in {
        2: "potassium must be a number from 1.95 to 9.95, found 'nan'",
        3: "potassium must be a number from 1.95 to 9.95, found '12.0'",
        4: "potassium must be a number from 1.95 to 9.95, found 'low'",
        5: "split must be train, val or test, found 'holdout'",
        6: "expected 4 columns",
        8: "record 'r006' is in line 7 already",
        9: "record 'nobody' cannot be used: it is not in",
        10: "record '../labels' cannot be used",
        12: "subject 'h' is in train, and in val in line 11: a subject belongs into one split",
    }.items():
        assert any(problem.startswith(f"{line}: {expected}") for problem in told), (line, told)


def test_a_record_outside_its_folder_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    workload = made("ecg-k-dir", tmp_path)
    folder = tmp_path / "ecg-k-dir"
    with np.load(folder / "records.npz") as file:
        arrays = dict(file)
    (folder / "records.npz").unlink()
    (folder / "records").mkdir()
    for name, array in arrays.items():
        np.save(folder / "records" / f"{name}.npy", array)
    np.save(folder / "outside.npy", arrays["r000"])
    np.save(folder / "records" / "r001.npy", arrays["r001"][:5])
    np.save(folder / "records" / "r002.npy", np.array([{"unpickle": "me"}], dtype=object), allow_pickle=True)
    (folder / "records" / "r003.npy").write_bytes((folder / "records" / "r003.npy").read_bytes()[:200])
    np.save(folder / "records" / "r004.npy", np.zeros((12, 0)))
    lines = (folder / "labels.csv").read_text().splitlines()
    edit(folder / "labels.csv", line_2=lines[1].replace("r000", "../outside"))
    with pytest.raises(DataError) as caught:
        workload.load(tmp_path)
    assert [problem.partition("labels.csv:")[2].split(":")[0] for problem in caught.value.problems] == list("23456")
    assert "expected numbers [12, T], found float32 [5, 250]" in str(caught.value)
    assert "Python objects in dtype" in str(caught.value)


def test_missing_files_columns_and_splits_are_told(tmp_path: Path) -> None:
    workload = WORKLOADS["shhs-dir"]
    with pytest.raises(DataError, match=r"set TAILSWEEP_DATA.*sleepdata.org"):
        workload.load(None)
    with pytest.raises(DataError, match=r"labels.csv is missing: Put labels.csv \(record,score,split"):
        workload.load(tmp_path)
    made("shhs-dir", tmp_path)
    path = tmp_path / "shhs-dir" / "labels.csv"
    whole = path.read_text()
    path.write_text(whole.replace(",val,", ",train,"))
    with pytest.raises(DataError, match="no rows of split val"):
        workload.load(tmp_path)
    path.write_text(whole.replace("record,score", "record,points"))
    with pytest.raises(DataError, match=r"labels.csv:1: column score is missing, there are record, points, split"):
        workload.load(tmp_path)
    path.write_bytes(b"\xff\xfe,")
    with pytest.raises(DataError, match="must be a CSV file in UTF-8"):
        workload.load(tmp_path)
    path.write_text(whole)
    (tmp_path / "shhs-dir" / "records.npz").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"records.npz cannot be read"):
        workload.load(tmp_path)


def test_a_nights_features_do_not_depend_on_the_longest_night_beside_it() -> None:
    torch.manual_seed(0)
    encoder = NightEncoder(2, 20, (4, 6), 3).eval()
    x = torch.randn(2, 2, 100)
    x[0, :, 40:] = 0  # two windows
    x[1, :, 20:40] = 0  # a gap
    z = encoder(x)
    assert z.shape == (2, 6)
    torch.testing.assert_close(encoder(x[:1, :, :40])[0], z[0])
    assert torch.isfinite(encoder(torch.zeros(2, 2, 50))).all()


def test_a_channel_that_is_flat_but_for_rounding_keeps_its_size() -> None:
    rng = np.random.default_rng(0)
    flat = np.float64(0.1) * (1 + 2**-52 * (np.arange(400) % 2))
    gaps = np.full(400, np.nan)
    layout = replace(signals.ECG, channels=(("I",), ("II",), ("V1",)))
    _, sd = _scale([lambda: np.stack([rng.normal(size=400), flat, gaps])] * 3, layout)
    assert 0.8 < sd[0] < 1.2 and sd[1:].tolist() == [1.0, 1.0]
