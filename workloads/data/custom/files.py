"""Files that the declaration of a data set names: those of a column, and weights."""

from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from workloads.cache import Rows, Source, Transform, decoded
from workloads.data.custom.columns import SHOWN, Column
from workloads.data.custom.schema import CustomPictures
from workloads.encoders import hub
from workloads.messages import brief
from workloads.workload import DataError


def names_below(column: Column) -> list[str]:
    """Names of files below a folder, one a row; raises DataError with those that lead elsewhere."""
    names = [name or "" for name in column.texts()]
    wrong = [row for row, name in enumerate(names) if _leaves(name)]
    if wrong:
        law = f"{column.name} must name a file below the folder"
        raise DataError(*(f"{column.path}: row {row + 1}: {law}: got {brief(names[row])}" for row in wrong[:SHOWN]))
    return names


def _leaves(name: str) -> bool:
    place = PurePosixPath(name)
    return not name or place.is_absolute() or ".." in place.parts


def decoded_files(own: CustomPictures, names: list[str], transform: Transform) -> tuple[Rows, Tensor]:
    """Rows of the cache for the files of a column, and the place of every row's among them, `[N]`.

    A file that several rows name is decoded once. Raises DataError with all that are missing or broken.
    """
    table = Path(own.file)
    folder = table.parent if own.folder is None else Path(own.folder)
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    sources = [Source(folder / name, name, f"{table}: row {row + 1}") for name, row in sorted(first.items())]
    if not any(source.path.is_file() for source in sources):
        raise DataError(f"{folder}: none of the {len(sources):,} images is there, such as {sources[0].path}")
    rows = decoded(sources, transform)
    at = {source.name: position for position, source in enumerate(sources)}
    return rows, torch.tensor([at[name] for name in names])


def weights_of(own: CustomPictures) -> Path | None:
    """The file of weights on this machine, fetched where the hub has it; raises DataError."""
    if own.weights is None or not hub.named(own.weights):
        return None if own.weights is None else Path(own.weights)
    try:
        return hub.fetched(own.weights)
    except ValueError as err:
        raise DataError(str(err)) from None
