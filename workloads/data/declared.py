"""What a study file may say of a data set of its own: the keys of every kind, checked, in this one place."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from workloads.encoders.images import AUGMENTATIONS
from workloads.encoders.named import ENCODERS, Named
from workloads.hparams import UnknownName

Count: TypeAlias = Annotated[int, Field(strict=True, ge=1)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]


def _augmentations(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in the order in which they act, each once."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise UnknownName("augmentation", name, AUGMENTATIONS)
    return tuple(name for name in AUGMENTATIONS if name in names)


class Own(BaseModel):
    """The keys that all kinds have.

    `target`, `split` and `group` name columns (or arrays). Bins of `bin_width` start at `low` or below the smallest
    label. Without a `split` of train, val and test, validation and test are drawn balanced over the bins, at most `cap`
    rows of each; rows of one `group` (a subject) never lie in two splits. `many` and `few` are the shot rule;
    `encoder` is a name of `ENCODERS`, `hidden` the widths of its layers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    places: ClassVar[tuple[str, ...]] = ("file",)
    """Keys that say where something lies."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
    type: str
    file: Text
    target: Text
    bin_width: Annotated[float, Field(gt=0)]
    low: float | None = None
    high: float | None = None
    split: str | None = None
    group: str | None = None
    cap: Count = 10
    many: Count = 100
    few: Count = 20
    encoder: str | None = None
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    title: str = ""
    unit: str = ""

    @property
    def named(self) -> Named:
        """The encoder: the one that is named, or the first of the kind."""
        known = ENCODERS[self.type]
        return known[self.encoder or next(iter(known))]

    @property
    def columns(self) -> Sequence[str]:
        """Columns or arrays that must be there."""
        return [name for name in (self.target, self.split, self.group) if name is not None]

    @model_validator(mode="after")
    def _fits(self) -> "Own":
        known = ENCODERS[self.type]
        if self.encoder is not None and self.encoder not in known:
            raise UnknownName("encoder", self.encoder, known, f"type {self.type}")
        if self.hidden is not None and not self.named.hidden:
            layered = ", ".join(name for name, encoder in known.items() if encoder.hidden)
            raise ValueError(f"hidden sets the layers of {layered}: got it with {self.encoder}, which has its own")
        return self

    def identity(self) -> str:
        """All that numbers depend on, as text: not where things lie, nor what they are called.

        Keys that are newer than these count where they are set, so that older trials keep their ids.
        """
        tree = {"inputs": "x", "drop": (), **self.model_dump()}
        tree |= {"file": "", "title": "", "unit": "", "hidden": self.hidden or self.named.hidden}
        if self.named is next(iter(ENCODERS[self.type].values())):
            tree["encoder"] = None
        newer = {
            name: tree[name]
            for name, field in type(self).model_fields.items()
            if name not in (*OLDEST, *self.places) and tree[name] != field.default
        }
        keys = [*((name, tree[name]) for name in OLDEST), *sorted(newer.items())]
        return f"Own({', '.join(f'{name}={value!r}' for name, value in keys)})"


OLDEST: Final = (
    *("name", "type", "file", "target", "bin_width", "low", "high", "inputs", "split", "group", "drop", "cap", "many"),
    *("few", "hidden", "title", "unit"),
)


class OwnTable(Own):
    """A CSV, TSV or Parquet file: all columns but those that are named, or listed under `drop`, are inputs."""

    type: Literal["table"]
    drop: tuple[str, ...] = ()

    @property
    def columns(self) -> Sequence[str]:
        """Columns that must be there."""
        return [*super().columns, *self.drop]


class OwnArrays(Own):
    """An NPZ of arrays with one row each; `inputs` names the one of inputs `[N, …]`."""

    type: Literal["arrays"]
    inputs: Text = "x"

    @property
    def columns(self) -> Sequence[str]:
        """Arrays that must be there."""
        return [self.inputs, *super().columns]


class OwnImages(Own):
    """A CSV, TSV or Parquet file with a `column` of image files, which lie below `folder` (default: beside the file).

    Images are brought to `size` × `size` pixels, whole (`resized`) or their middle square (`squared`); `augment` lists
    what is done to training images. `weights` is a local file, or a name on the hub, for an encoder that reads one.
    """

    places: ClassVar[tuple[str, ...]] = ("file", "folder", "weights")

    type: Literal["images"]
    folder: Text | None = None
    column: Text = "file"
    size: Annotated[int, Field(strict=True, ge=4, le=1024)] = 64
    transform: Literal["resized", "squared"] = "resized"
    augment: Annotated[tuple[str, ...], AfterValidator(_augmentations)] = ()
    weights: Text | None = None

    @property
    def columns(self) -> Sequence[str]:
        """Columns that must be there."""
        return [self.column, *super().columns]

    @model_validator(mode="after")
    def _images_fit(self) -> "OwnImages":
        if self.weights is not None and not self.named.weights:
            readers = ", ".join(name for name, encoder in ENCODERS[self.type].items() if encoder.weights)
            raise ValueError(f"weights are read by {readers}: got them with {self.encoder or 'the default, cnn'}")
        return self


KINDS: Final[dict[str, type[Own]]] = {
    "table": OwnTable,
    "arrays": OwnArrays,
    "images": OwnImages,
}
"""Declarations by their `type`."""


def kind_of(tree: Mapping[str, Any]) -> type[Own]:
    """The kind of a declaration; raises ValueError for a type that is not known."""
    kind = KINDS.get(str(tree.get("type")))
    if kind is None:
        raise ValueError(f"the type of a data set must be one of {', '.join(KINDS)}: got {tree.get('type')!r}")
    return kind
