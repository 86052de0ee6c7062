"""What a study file may say of a data set of its own: the keys of every kind, checked, in this one place."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from workloads.data.custom.bins import bins_between
from workloads.encoders import hub
from workloads.encoders.backbones import is_backbone, settings
from workloads.encoders.frozen import Pool
from workloads.encoders.images import AUGMENTATIONS
from workloads.encoders.named import ENCODERS, Named, encoder_named, readers_of_weights
from workloads.hparams import UnknownName

Count: TypeAlias = Annotated[int, Field(strict=True, ge=1)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]


def _augmentations(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in the order in which they act, each once."""
    for name in names:
        if name not in AUGMENTATIONS:
            raise UnknownName("augmentation", name, AUGMENTATIONS)
    return tuple(name for name in AUGMENTATIONS if name in names)


class CustomData(BaseModel):
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
        return encoder_named(self.read_as, self.encoder or next(iter(ENCODERS[self.read_as])))

    @property
    def read_as(self) -> str:
        """The kind of input that the encoder reads."""
        return self.type

    @property
    def local(self) -> dict[str, str]:
        """Files and folders that must be on a machine, by key; weights on the hub and names are neither."""
        named = {key: place for key in self.places if (place := getattr(self, key)) is not None}
        return {key: place for key, place in named.items() if not hub.named(place) and not is_backbone(place)}

    @property
    def columns(self) -> Sequence[str]:
        """Columns or arrays that must be there."""
        return [name for name in (self.target, self.split, self.group) if name is not None]

    @model_validator(mode="after")
    def _fits(self) -> "CustomData":
        known, named = ENCODERS[self.read_as], self.named
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low < high must hold: got {self.low:g} and {self.high:g}")
            bins_between(self.low, self.high, self.bin_width)
        if self.hidden is not None and not named.hidden:
            layered = ", ".join(name for name, encoder in known.items() if encoder.hidden)
            raise ValueError(f"hidden sets the layers of {layered}: got it with {self.encoder}, which has its own")
        return self

    def identity(self) -> str:
        """All that numbers depend on, as text: not where things lie, nor what they are called.

        Keys that are newer than these count where they are set, so that older trials keep their ids.
        """
        tree = {"inputs": "x", "drop": (), **self.model_dump()}
        tree |= {"file": "", "title": "", "unit": "", "hidden": self.hidden or self.named.hidden}
        if self.named is next(iter(ENCODERS[self.read_as].values())):
            tree["encoder"] = None
        newer = {
            name: tree[name]
            for name, field in type(self).model_fields.items()
            if name not in (*OLDEST, *self.places) and tree[name] != field.default
        }
        keys = [*((name, tree[name]) for name in OLDEST), *sorted(newer.items())]
        # "Own" is what the class was called when the first trials got their ids.
        return f"Own({', '.join(f'{name}={value!r}' for name, value in keys)})"


OLDEST: Final = (
    *("name", "type", "file", "target", "bin_width", "low", "high", "inputs", "split", "group", "drop", "cap", "many"),
    *("few", "hidden", "title", "unit"),
)


class CustomTable(CustomData):
    """A CSV, TSV or Parquet file: all columns but those that are named, or listed under `drop`, are inputs."""

    type: Literal["table"]
    drop: tuple[str, ...] = ()

    @property
    def columns(self) -> Sequence[str]:
        """Columns that must be there."""
        return [*super().columns, *self.drop]


class CustomArrays(CustomData):
    """An NPZ of arrays with one row each; `inputs` names the one of inputs `[N, …]`."""

    type: Literal["arrays"]
    inputs: Text = "x"

    @property
    def columns(self) -> Sequence[str]:
        """Arrays that must be there."""
        return [self.inputs, *super().columns]


class CustomPictures(CustomData):
    """A CSV, TSV or Parquet file with a `column` of image files, which lie below `folder` (default: beside the file).

    Images are brought to `size` × `size` pixels. `weights` is a local file, or a name on the hub, for an encoder that
    reads one.
    """

    places: ClassVar[tuple[str, ...]] = ("file", "folder", "weights")

    folder: Text | None = None
    column: Text = "file"
    size: Annotated[int, Field(strict=True, ge=4, le=1024)] = 64
    weights: Text | None = None

    @property
    def columns(self) -> Sequence[str]:
        """Columns that must be there."""
        return [self.column, *super().columns]

    @model_validator(mode="after")
    def _weights_fit(self) -> "CustomPictures":
        if self.weights is not None and self.read_as == self.type and not self.named.weights:
            chosen = self.encoder or f"the default, {next(iter(ENCODERS[self.type]))}"
            raise ValueError(f"weights are read by {readers_of_weights(self.type)}: got them with {chosen}")
        return self


class CustomImages(CustomPictures):
    """Images with a label each, whole (`resized`) or their middle square (`squared`).

    `augment` lists what is done to training images. With `features` a frozen network makes vectors of them, once, and
    `encoder` is one of tables: `timm/NAME` with `weights`, or the folder of a `transformers` network, whose last states
    are averaged (`pool: mean`), or the first of them is taken (`first`).
    """

    places: ClassVar[tuple[str, ...]] = (*CustomPictures.places, "features")

    type: Literal["images"]
    transform: Literal["resized", "squared"] = "resized"
    augment: Annotated[tuple[str, ...], AfterValidator(_augmentations)] = ()
    features: Text | None = None
    pool: Pool = "mean"

    @property
    def read_as(self) -> str:
        """The kind of input that the encoder reads: columns, where they are vectors of a frozen network."""
        return self.type if self.features is None else "table"

    @model_validator(mode="after")
    def _features_fit(self) -> "CustomImages":
        if self.features is None:
            return self
        if self.augment:
            raise ValueError("augment changes images in training, and features are those of images as they are")
        if not is_backbone(self.features) and self.weights is not None:
            raise ValueError("weights are those of timm/NAME: got them with features of a folder, which has its own")
        if is_backbone(self.features):
            settings(self.features)  # tells a network that timm does not have
            if self.weights is None:
                raise ValueError(f"features of {self.features} need weights: name a file of them")
        return self


class CustomText(CustomData):
    """A CSV, TSV or Parquet file with a `column` of texts, of which a frozen network makes vectors, computed once.

    `features` is the folder of a `transformers` network with its tokenizer; it reads the first `longest` tokens of a
    text. Its last states are averaged (`pool: mean`), or the first of them is taken (`first`). `encoder` is one of
    tables.
    """

    places: ClassVar[tuple[str, ...]] = ("file", "features")

    type: Literal["text"]
    column: Text = "text"
    features: Text
    pool: Pool = "mean"
    longest: Count = 128

    @property
    def read_as(self) -> str:
        """The kind of input that the encoder reads: columns."""
        return "table"

    @property
    def columns(self) -> Sequence[str]:
        """Columns that must be there."""
        return [self.column, *super().columns]


class CustomMaps(CustomPictures):
    """Images whose every pixel has a label: `target` names the column of their maps, images of one channel or NPY.

    A label is `scale` times a value; a value that is `blank`, or no number, is no label. Maps are brought to `map_size`
    × `map_size` pixels (default: those of the images). Labels lie from `low` to `high`. The shot rule is by shares of
    the training pixels, `many_share` and `few_share`; at most `cap` pixels of a bin are scored. Without a `split`, a
    tenth of the rows, or of the groups, is validation, and another one test. `augment` changes images with their maps.
    """

    type: Literal["maps"]
    low: float
    high: float
    scale: Annotated[float, Field(gt=0)] = 1.0
    blank: float | None = 0.0
    map_size: Annotated[int, Field(strict=True, ge=4, le=1024)] | None = None
    many_share: Annotated[float, Field(gt=0, lt=1)] = 0.03
    few_share: Annotated[float, Field(gt=0, lt=1)] = 0.01
    cap: Count = 4096
    augment: tuple[Literal["flip", "light"], ...] = ()

    @model_serializer(mode="wrap")
    def _blank_written(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """With `blank` where it is null, also for who leaves nulls out: its default is another one."""
        return {**whole(self), "blank": self.blank}

    @property
    def map_side(self) -> int:
        """Pixels of a map, down and across."""
        return self.map_size or self.size

    @model_validator(mode="after")
    def _maps_fit(self) -> "CustomMaps":
        if self.few_share > self.many_share:
            raise ValueError(f"few_share <= many_share must hold: got {self.few_share:g} and {self.many_share:g}")
        fields = type(self).model_fields
        if rows := [name for name in ("many", "few") if getattr(self, name) != fields[name].default]:
            raise ValueError(f"{' and '.join(rows)} count rows: pixels have many_share and few_share")
        return self


KINDS: Final[dict[str, type[CustomData]]] = {
    "table": CustomTable,
    "arrays": CustomArrays,
    "images": CustomImages,
    "text": CustomText,
    "maps": CustomMaps,
}
"""Declarations by their `type`."""


def kind_of(tree: Mapping[str, Any]) -> type[CustomData]:
    """The kind of a declaration; raises ValueError for a type that is not known."""
    kind = KINDS.get(str(tree.get("type")))
    if kind is None:
        raise ValueError(f"the type of a data set must be one of {', '.join(KINDS)}: got {tree.get('type')!r}")
    return kind
