"""A trained model as a folder: written whole or not at all, and read without pickles.

model.safetensors    weights, what an adjustment is fitted to, errors on validation rows
model.json           `About`: recipe, settings, bins and units of labels, shape of inputs
preprocessing.json   how new rows become inputs: columns, words, scales, gaps
setting.yaml         a study that trains the row again
README.md            the card
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from orchestrator.errors import BadInput, of_system, one_line, shown
from orchestrator.models.about import FORMAT, About
from orchestrator.models.conformal import Calibration, regions_of
from workloads.data.custom.new_rows import READERS, ArrayRows, PreparedRows, TableRows
from workloads.data.new_pairs import Pairs
from workloads.extras import MissingExtra
from workloads.labels import REGIONS, Floats, Ints
from workloads.plugins import load_plugins
from workloads.trainers import predictor
from workloads.workload import DataError, NewRows

TENSORS, ABOUT, ROWS, SETTING, CARD = (
    "model.safetensors",
    "model.json",
    "preprocessing.json",
    "setting.yaml",
    "README.md",
)
CALIBRATION: Final = "calibration"
VECTORS: Final = "words.vectors"
"""Of the words that the model knows, as `Sentences` have them."""
LEVEL: Final = 0.9
"""Share of labels that intervals hold, unless another one is asked for."""
PREDICTIONS: Final = pa.schema(
    [
        ("row", pa.int64()),
        ("prediction", pa.float64()),
        ("region", pa.string()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)
"""The row from 0, its prediction in label units, the shot region, and the ends of the interval; null without one."""


class TrainedModel:
    """A model of a folder: `predict` new rows."""

    def __init__(self, about: About, rows: NewRows, tensors: Mapping[str, Tensor]) -> None:
        self.about, self.rows = about, rows
        own = {name: value for name, value in tensors.items() if not name.startswith(f"{CALIBRATION}.")}
        self.predictor = predictor(about.setup, partial(about.encoder, tensors.get(VECTORS)), own)
        kept = [tensors.get(f"{CALIBRATION}.{name}") for name in ("errors", "regions")]
        found = [value.numpy() for value in kept if value is not None]
        self.calibration = Calibration(*found) if len(found) == len(kept) else None

    def predict(self, rows: Any, level: float = LEVEL) -> pa.Table:
        """Predictions (schema `PREDICTIONS`) of new rows: the path of a file, or a table or an array in memory.

        A table is of Arrow or pandas. Raises BadInput for rows that are not as the model's own.
        """
        if not 0 < level < 1:
            raise BadInput(f"the share of labels that intervals hold must lie between 0 and 1: got {level:g}")
        if self.about.maps is not None:
            raise BadInput(
                "the model predicts maps: `maps(rows)` gives them, tailsweep predict --out FILE.npz writes them"
            )
        pred, region = self._predicted(rows)
        half = self.calibration.widths(level) if self.calibration is not None else {}
        width = np.array([half.get(int(r), np.nan) for r in region], dtype=np.float64)
        ends = [pa.array(values, pa.float64(), from_pandas=True) for values in (pred - width, pred + width)]
        names = pa.array([REGIONS[r] for r in region], pa.string())
        return pa.table([pa.array(np.arange(len(pred))), pred, names, *ends], schema=PREDICTIONS)

    def maps(self, rows: Any) -> dict[str, npt.NDArray[Any]]:
        """`prediction` `[N, h, w]` in label units and `region` `[N, h, w]`, positions in REGIONS, of new images.

        In any of the forms of `predict`. Raises BadInput, also where labels are no maps.
        """
        if self.about.maps is None:
            raise BadInput("the model predicts a label for each row: `predict(rows)` gives a table")
        pred, region = self._predicted(rows)
        return {"prediction": pred, "region": region.astype(np.int8)}

    def _predicted(self, rows: Any) -> tuple[Floats, Ints]:
        """Predictions, and the shot regions of what is predicted."""
        try:
            pred = self.predictor.predict(self.inputs(rows))
        except DataError as err:
            raise BadInput(str(err)) from None
        labels = self.about.labels
        return pred, regions_of(np.nan_to_num(pred, nan=labels.low), labels.grid, labels.by_bin)

    def inputs(self, rows: Any) -> Tensor:
        """Inputs `[N, …]` of new rows, in any of the forms of `predict`; raises DataError."""
        if isinstance(rows, str | Path):
            return self.rows.read(Path(rows))
        if isinstance(self.rows, TableRows | Pairs):
            table = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
            return self.rows.of_table(table)
        if isinstance(self.rows, ArrayRows | PreparedRows):
            return self.rows.of_array(np.asarray(rows))
        raise DataError(f"a model of {self.rows.kind} reads files: give the path of one")

    def example(self) -> dict[str, Any]:
        """A row of average inputs, for those who want to see one: columns of a table by name."""
        if not isinstance(self.rows, TableRows):
            return {}
        means = {scale.name: scale.mean * scale.size for scale in self.rows.scales}
        return {
            name: means[name] if words is None else next(iter(words), "")
            for name, words in self.rows.sources.items()
            if name in self.rows.needed
        }


def load_model(folder: str | Path, plugins: Iterable[str] = ()) -> TrainedModel:
    """The model in a folder; raises BadInput for one that is damaged, incomplete or of another version.

    A recipe with methods of plugins needs them by name: a plugin is code that runs, and is only loaded when asked for.
    """
    place = Path(folder)
    try:
        about = _about(place)
        load_plugins(plugins)
        rows = _tree(place / ROWS)
        tensors = _tensors(place, about)
        reader = READERS[rows["kind"]](rows)
        return TrainedModel(about, reader, tensors)
    except BadInput:
        raise
    except OSError as err:
        raise BadInput(f"{place} must be the folder of a model: {of_system(err)}") from err
    except MissingExtra as err:
        raise BadInput(str(err)) from None
    except Exception as err:  # files may hold anything
        missing = [name for name in (about.plugins if "about" in locals() else ()) if name not in set(plugins)]
        way = f"; it needs --plugin {' '.join(missing)}" if missing else ""
        raise BadInput(f"{place} cannot be read as a model: {one_line(err, 400)}{way}") from err


def _about(place: Path) -> About:
    tree = _tree(place / ABOUT)
    if (version := tree.get("format")) != FORMAT:
        raise BadInput(
            f"{place / ABOUT} must be of format {FORMAT}: got {shown(version)}, of another release of Tailsweep; "
            "fit the model again with this one, or read it with that one"
        )
    try:
        return About.model_validate(tree)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{place / ABOUT}: {where}: {first['msg']}; is it what `tailsweep fit` wrote?") from None


def _tree(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BadInput(
            f"{path.parent} must be the folder of a model, as `tailsweep fit` writes it: {path.name} is missing"
        )
    tree = json.loads(path.read_text("utf-8"))
    if not isinstance(tree, dict):
        raise BadInput(f"{path} must hold a mapping")
    return tree


def _tensors(place: Path, about: About) -> dict[str, Tensor]:
    data = (place / TENSORS).read_bytes()
    if hashlib.sha256(data).hexdigest() != about.sha256:
        raise BadInput(f"{place / TENSORS} is damaged: its checksum is not that in {ABOUT}; copy or fit it again")
    return safetensors.torch.load(data)


def packed(tensors: Mapping[str, Tensor], calibration: Calibration | None) -> bytes:
    """The file of tensors."""
    held: dict[str, npt.NDArray[Any]] = {} if calibration is None else vars(calibration)
    own = {f"{CALIBRATION}.{name}": torch.from_numpy(values) for name, values in held.items()}
    return safetensors.torch.save({**tensors, **own})


def check_free(out: Path) -> None:
    """Raises BadInput where something is at the place of a new folder already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(
            f"--out names a folder that is new or empty: {out} holds something; choose another, or delete it"
        )


class Whole:
    """A folder that appears under its name when it is whole: `with Whole(out) as folder:` fills it."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def __enter__(self) -> Path:
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self._made = Path(tempfile.mkdtemp(prefix=f".{self._out.name}-", dir=self._out.parent))
        except OSError as err:
            raise BadInput(f"cannot write {self._out}: {err.strerror}") from err
        self._made.chmod(0o755)
        return self._made

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._made.replace(self._out)
        except OSError as err:
            raise BadInput(f"cannot write {self._out}: {err.strerror}") from err
        finally:
            shutil.rmtree(self._made, ignore_errors=True)
