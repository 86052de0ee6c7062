"""Vectors of a frozen encoder as the inputs of a declared data set: columns like those of a table."""

from collections.abc import Sequence
from pathlib import Path

import torch

from workloads.data import vectors
from workloads.data.custom.columns import Column
from workloads.data.custom.files import decoded_files, weights_of
from workloads.data.custom.inputs import Fitted, flat
from workloads.data.custom.new_rows import TRANSFORMS
from workloads.data.custom.notes import Notes
from workloads.data.custom.schema import CustomData, CustomImages, CustomText
from workloads.encoders import frozen
from workloads.encoders.backbones import is_backbone
from workloads.labels import Floats, Ints
from workloads.workload import DataError


def of_texts(own: CustomText, column: Column, y: Floats, notes: Notes, train: Ints) -> Fitted:
    """Vectors of a column of texts, scaled on the training rows; a gap is an empty text, and noted."""
    texts = [text or "" for text in column.texts()]
    if gaps := sum(not text for text in texts):
        notes.add(f"column {own.column}: {gaps:,} rows have no text")
    try:
        encoder = frozen.texts(Path(own.features), own.longest, own.pool)
    except ValueError as err:
        raise DataError(str(err)) from None
    return _fitted(own, vectors.of_texts(encoder, texts), encoder.key, y, notes, train)


def of_images(own: CustomImages, names: list[str], y: Floats, notes: Notes, train: Ints) -> Fitted:
    """Vectors of the images of a column, scaled on the training rows."""
    transform = TRANSFORMS[own.transform](own.size, upright=True)
    rows, place = decoded_files(own, names, transform)
    assert own.features is not None  # who calls this has asked
    try:
        encoder = frozen.images(own.features, weights_of(own), own.size, own.pool)
    except ValueError as err:
        raise DataError(str(err)) from None
    every = torch.arange(len(rows))
    made = vectors.kept(encoder, f"{transform.name} {rows.digest}", len(rows), lambda part: rows.read(every[part]))
    return _fitted(own, made[place.numpy()], f"{rows.digest} {encoder.key}", y, notes, train)


def _fitted(own: CustomData, made: vectors.Vectors, read: str, y: Floats, notes: Notes, train: Ints) -> Fitted:
    notes.add(f"inputs are {made.shape[1]:,} numbers a row of a frozen encoder, computed once and kept")
    columns = ((f"feature {at}", made[:, at].astype(float)) for at in range(made.shape[1]))
    fitted = flat(columns, (), y, Path(own.file), notes, train)
    return Fitted(fitted.part, read, fitted.scales)


def modules_of(own: CustomData) -> Sequence[str]:
    """Modules of `workloads.extras` that the frozen encoder of a declaration takes."""
    features = own.features if isinstance(own, CustomImages | CustomText) else None
    if features is None:
        return ()
    return ("timm",) if is_backbone(features) else ("transformers",)
