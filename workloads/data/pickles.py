"""A reader of pickled arrays that runs nothing: containers, strings, numbers and arrays of numbers, or a refusal.

An ordinary unpickler imports and calls whatever a file names. This one knows three names, those that numpy writes for
an array, and answers them with its own stand-ins; every other name is refused before anything is called.
"""

import pickle
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workloads.workload import DataError

NUMBERS: Final = frozenset({"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"})


def _text(word: Any) -> str:
    return word.decode("ascii") if isinstance(word, bytes) else str(word)


class _Type:
    """Stands in for `numpy.dtype`: the name of a number's type and its byte order."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = _text(name)
        if self.name not in NUMBERS:
            raise pickle.UnpicklingError(f"arrays must be of numbers: got type {self.name!r}")

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1])
        self.name = f"{order if order in '<>|' else '='}{self.name.lstrip('<>|=')}"


class _Array:
    """Stands in for `numpy.ndarray` and the function that makes one: holds `array` once its state is read."""

    def __init__(self, *_: Any) -> None:
        self.array: npt.NDArray[Any] = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        if not isinstance(kind, _Type) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("arrays must be of numbers")
        # The buffer decides the size; a shape that does not fit it is an error, not an allocation.
        flat = np.frombuffer(raw, np.dtype(kind.name))
        self.array = flat.reshape(shape, order="F" if fortran else "C")


KNOWN: Final = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): "ndarray",  # only ever an argument of _reconstruct
    ("numpy", "dtype"): _Type,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a known name; refuses any other."""
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a data file does not need")
        return KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refused: data files have no references to elsewhere."""
        raise pickle.UnpicklingError("it refers to objects outside the file")


def read_pickle(path: Path) -> dict[str, Any]:
    """The dictionary in a file, keys as str; strings of Python 2 stay bytes, arrays are numpy's, read-only.

    Raises DataError for a file that is missing, broken, asks for anything but arrays, or holds no dictionary.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing")
    try:
        with path.open("rb") as stream:
            tree = _Reader(stream, encoding="bytes").load()
        if not isinstance(tree, dict):
            raise pickle.UnpicklingError(f"it holds a {type(tree).__name__}, not a dictionary")
        return {_text(k): v.array if isinstance(v, _Array) else v for k, v in tree.items()}
    except Exception as err:  # a broken pickle raises whatever its bytes happen to say
        raise DataError(f"{path} must be a pickle of arrays, and was not read: {err}; get it again") from err
