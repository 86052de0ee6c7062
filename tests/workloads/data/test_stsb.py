"""STS-B-DIR: two splits under the same file names, and what may be wrong with their files."""

import doctest
import hashlib
import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import cached
from published import find
from training import EVERYTHING, fit, scored
from workloads import WORKLOADS
from workloads.data import minilm, stsb, words
from workloads.data.new_pairs import VectorPairs, WordPairs
from workloads.encoders.text import PairBiLSTM
from workloads.labels import REGIONS, regions
from workloads.workload import DataError, Workload

NAMES = [workload.name for workload in stsb.WORKLOADS]
NARROW = partial(stsb._bilstm, 8)  # 75 million weights do not belong in a fast test


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On a machine that does other work too, threads wait for one another longer than small batches take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("TAILSWEEP_CACHE", str(folder))
    return folder


def made(name: str, root: Path) -> Workload:
    workload = WORKLOADS[name]
    assert workload.fixture is not None
    workload.fixture(root)
    return workload if name == "sts-b-dir-minilm" else replace(workload, encoder=NARROW)


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_with_every_kind_of_method_gives_metrics_in_every_region(name: str, tmp_path: Path) -> None:
    workload = made(name, tmp_path)
    data = workload.load(tmp_path)
    result = scored(fit(workload, data, f"mse {EVERYTHING}", {"train.epochs": 2}))
    assert all(result[region]["mse"] is not None for region in ("all", "many", "medium", "few"))
    assert set(result["all"]) == {"mse", "mae", "gm", "pearson", "spearman"}
    assert data.fingerprint == workload.load(tmp_path).fingerprint


@pytest.mark.parametrize("name", ["sts-b-dir", "sts-b-dir-minilm"])
def test_half_precision_trains_too(name: str, tmp_path: Path) -> None:
    workload = made(name, tmp_path)
    result = scored(fit(workload, workload.load(tmp_path), "mse", {"train.precision": "bf16"}))
    assert result["all"]["mse"] is not None


def real_root() -> Path:
    return find("sts-b-dir/train_new.tsv").parents[1]


@pytest.mark.parametrize("name", ["sts-b-dir", "sts-b-dir-strict"])
def test_the_published_counts_are_met(name: str) -> None:
    workload = WORKLOADS[name]
    data = workload.load(real_root())
    found = {"train": len(data.train.y), "val": len(data.val.y), "test": len(data.test.y)}
    where = regions(data.train.y.numpy(), data.test.y.numpy(), workload.grid, workload.shots)
    found |= {f"test/{region}": int((where == REGIONS.index(region)).sum()) for region in ("many", "medium", "few")}
    assert found == workload.counts
    assert workload.grid.counts(data.train.y.numpy())[[0, 9, 27, 49]].tolist() == [428, 1, 35, 263]
    assert data.train.inputs(torch.arange(3), torch.device("cpu")).shape == (3, 2, 40)


def test_nearly_every_word_of_the_pairs_has_a_vector() -> None:
    pairs, _ = stsb.read(stsb.DIR, real_root())
    spelled = [words.GLOVE_6B.spell(s) for rows in pairs.values() for s in (*rows.first, *rows.second)]
    vocabulary = words.vocabulary(spelled)
    rows, _ = words.GLOVE_6B.find(None, vocabulary)
    known = {vocabulary[row] for row in rows}
    assert np.mean([word in known for sentence in spelled for word in sentence]) > 0.99


@pytest.mark.parametrize("part", stsb.PARTS)
def test_the_real_files_are_told_to_be_the_dir_split(part: str) -> None:
    content = find(f"sts-b-dir/{part}_new.tsv").read_bytes()
    assert stsb.split_of(part, content) == "DIR"
    assert stsb.split_of(part, content.replace(b"\n", b"\r\n")) is None
    digests = {file.path: file.sha256 for file in stsb.DIR.origin.files}
    assert digests[f"sts-b-dir/{part}_new.tsv"] == hashlib.sha256(content).hexdigest()


def test_the_other_split_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "sts-b-dir-ranksim").mkdir()
    for part in stsb.PARTS:
        shutil.copy(find(f"sts-b-dir/{part}_new.tsv"), tmp_path / "sts-b-dir-ranksim")
    with pytest.raises(DataError, match="is of the DIR split, and sts-b-dir-ranksim is the RankSim split") as caught:
        WORKLOADS["sts-b-dir-ranksim"].load(tmp_path)
    assert len(caught.value.problems) == 3


def test_ranksims_split_is_known_by_the_first_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"stands for its file"
    monkeypatch.setitem(stsb.RANKSIM.md5, "dev", hashlib.md5(content).hexdigest()[:8])
    assert stsb.split_of("dev", content) == "RankSim"
    assert stsb.split_of("test", content) is None
    made("sts-b-dir", tmp_path)
    (tmp_path / "sts-b-dir" / "dev_new.tsv").write_bytes(content)
    with pytest.raises(DataError, match=r"dev_new.tsv is of the RankSim split, and sts-b-dir is the DIR split"):
        WORKLOADS["sts-b-dir"].load(tmp_path)


def test_the_repositorys_own_folders_are_read_too(tmp_path: Path) -> None:
    workload = made("sts-b-dir", tmp_path)
    before = workload.load(tmp_path)
    nested = tmp_path / "sts-b-dir" / "glue_data" / "STS-B"
    nested.mkdir(parents=True)
    for path in (tmp_path / "sts-b-dir").glob("*.tsv"):
        path.rename(nested / path.name)
    assert workload.load(tmp_path).fingerprint == before.fingerprint


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    workload = made("sts-b-dir", tmp_path)
    folder = tmp_path / "sts-b-dir"
    lines = (folder / "train_new.tsv").read_text().splitlines()
    lines[0] = lines[0].replace("score", "points")
    for row, score in ((3, "nan"), (4, "5.1"), (5, ""), (6, "high")):
        lines[row] = lines[row].rpartition("\t")[0] + "\t" + score
    lines[7] = lines[7].replace("\t", " ", 1)
    lines[8] = "\t".join([*lines[8].split("\t")[:7], " ", *lines[8].split("\t")[8:]])
    (folder / "train_new.tsv").write_text("\n".join(lines) + "\n")
    (folder / "dev_new.tsv").write_text("\t".join(stsb.COLUMNS) + "\n")
    (folder / "test_new.tsv").unlink()
    with pytest.raises(DataError) as caught:
        workload.load(tmp_path)
    told = str(caught.value)
    for expected in (
        "train_new.tsv is of no known split of STS-B-DIR",
        "train_new.tsv:1: expected the columns index, genre",
        *(f"train_new.tsv:{line}: score must be a number from 0 to 5" for line in (4, 5, 6, 7)),
        "train_new.tsv:8: expected 10 columns between tabs, found 9",
        "train_new.tsv:9: a sentence is empty",
        "dev_new.tsv has no rows below its header",
        "test_new.tsv is missing",
    ):
        assert expected in told
    (folder / "dev_new.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"dev_new.tsv must be UTF-8: byte 0 is not"):
        workload.load(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_without_a_folder_of_data_sets_it_is_told_where_they_are(name: str) -> None:
    with pytest.raises(DataError, match=r"set TAILSWEEP_DATA.*https://github.com/"):
        WORKLOADS[name].load(None)


def test_the_larger_vectors_are_asked_for_and_checked(tmp_path: Path, cache: Path) -> None:
    workload = made("sts-b-dir-840b", tmp_path)
    path = tmp_path / words.GLOVE_840B_FILE
    path.write_text(path.read_text().replace("\nman ", "\nman many ").replace("\ndog ", "\ndog x"))
    with pytest.raises(DataError, match=r"glove.840B.300d.txt:3: expected a word and 300 numbers"):
        workload.load(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"glove.840B.300d.txt is missing: unpack glove.840B.300d.zip"):
        workload.load(tmp_path)


def test_the_larger_vectors_are_read_once_for_a_vocabulary_and_again_when_they_change(
    tmp_path: Path, cache: Path
) -> None:
    workload = made("sts-b-dir-840b", tmp_path)
    first = workload.load(tmp_path).fingerprint
    path = tmp_path / words.GLOVE_840B_FILE
    whole = path.read_text()
    cached.garble(path)
    assert workload.load(tmp_path).fingerprint == first
    _, line, *rest = whole.split("\n", 2)
    path.write_text("\n".join([whole.split("\n")[0], line.replace(" 0.", " 1.", 1), *rest]))
    assert workload.load(tmp_path).fingerprint != first
    (kept, _) = sorted(cache.glob("words-*.npz"), key=lambda file: file.stat().st_mtime_ns)
    kept.write_bytes(kept.read_bytes()[:100])
    path.write_text(whole)
    assert workload.load(tmp_path).fingerprint == first


def test_a_word_without_a_vector_has_the_same_one_in_every_vocabulary() -> None:
    one = words.GLOVE_6B.table(None, ["cat", "xqzzy"])
    two = words.GLOVE_6B.table(None, ["aaqq", "xqzzy", "zebra"])
    assert np.array_equal(one[2], two[2])
    assert not one[0].any()
    assert 0.5 < one[2].std() < 1.5
    assert not np.array_equal(two[1], two[2])


def test_the_example_of_tokens_holds() -> None:
    assert doctest.testmod(words) == (0, 1)


def test_padding_changes_no_sentence_vector() -> None:
    torch.manual_seed(0)
    encoder = PairBiLSTM(torch.randn(9, 5), 4).eval()
    ids = torch.tensor([[3, 1, 4, 0, 0, 0], [1, 5, 2, 6, 5, 8]])
    both = encoder.read(ids)
    torch.testing.assert_close(encoder.read(ids[:1, :3])[0], both[0])
    reversed_order = encoder.read(ids.flip(0)).flip(0)
    torch.testing.assert_close(reversed_order, both)
    z = encoder(ids.unsqueeze(0))
    assert z.shape == (1, 32)
    torch.testing.assert_close(z[0, 16:24], (both[0] - both[1]).abs())
    torch.testing.assert_close(z[0, 24:], both[0] * both[1])


def test_an_interrupted_lstm_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    workload = made("sts-b-dir", tmp_path)
    data = workload.load(tmp_path)
    recipe, settings = f"mse {EVERYTHING}", {"train.epochs": 3, "train.keep": "last"}
    whole = fit(workload, data, recipe, settings)
    for _ in whole:
        pass
    first = fit(workload, data, recipe, settings)
    next(iter(first))
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    torch.rand(7)  # whatever else the process draws
    second = fit(workload, data, recipe, settings)
    second.load_state_dict(torch.load(io.BytesIO(saved.getvalue()), weights_only=True))
    for _ in second:
        pass
    assert [e.loss for e in second.curve] == [e.loss for e in whole.curve]
    assert np.array_equal(second.predict(data.test), whole.predict(data.test))
    assert "encoder.vectors" not in whole.model.state_dict()


def test_sentence_vectors_are_computed_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = ["A cat.", "A dog sleeps.", "A cat."]
    fresh = minilm.embed(sentences)
    np.testing.assert_allclose(np.linalg.norm(fresh, axis=1), 1.0, rtol=1e-5)
    assert np.array_equal(fresh[0], fresh[2])
    (kept,) = cache.glob("*.npy")
    with monkeypatch.context() as patch:
        patch.setattr("workloads.encoders.frozen._network", lambda folder: pytest.fail("computed again"))
        assert np.array_equal(minilm.embed(sentences), fresh)
    kept.write_bytes(kept.read_bytes()[:100])
    np.testing.assert_allclose(minilm.embed(sentences), fresh, atol=1e-6)


def test_new_sentences_have_the_same_vectors_and_leave_no_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = ["A cat.", "A dog sleeps.", "A cat."]
    made = minilm.embed_new(sentences)
    assert not list(cache.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("workloads.encoders.frozen._network", lambda folder: pytest.fail("opened again"))
        assert np.array_equal(minilm.embed_new(sentences), made)
    assert np.array_equal(minilm.embed(sentences), made)


@pytest.mark.parametrize("reader", [VectorPairs(), WordPairs(["a"], lower=True, longest=4)])
def test_a_table_of_no_pairs_is_told_as_a_file_without_rows_is(reader: VectorPairs | WordPairs) -> None:
    with pytest.raises(DataError, match=r"^the table: has no rows$"):
        reader.of_table(pa.table({name: pa.array([], pa.string()) for name in ("sentence1", "sentence2")}))
