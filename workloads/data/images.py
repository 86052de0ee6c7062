"""Images as rows of a cache."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from workloads.cache import Bytes, Source, Transform
from workloads.messages import reason

VERSION: Final = 1
"""Raise it when the pixels below change."""
FORMATS: Final = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Kinds of files that are read. Pillow knows more, some of which start other programs, such as Ghostscript for EPS."""
TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image of an EXIF orientation upright."""


@cache
def _known() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """An image in a file; whatever is wrong with it, there or while it is used, is raised as ValueError."""
    try:
        with Image.open(io.BytesIO(content), formats=_known()) as image:
            yield image
    except UnidentifiedImageError as err:
        raise ValueError(f"not an image of a known kind ({', '.join(_known())})") from err
    # Pillow's decoders raise whatever broken bytes lead them to; an image of 180 megapixels is taken for an attack.
    except Exception as err:
        raise ValueError(reason(err)) from err


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What brings an image upright, as its EXIF orientation says; None where nothing is to be done."""
    image.load()  # Pillow itself turns a TIFF while it loads it, and takes the tag away
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken EXIF part is no reason to refuse the pixels
        return None


def rgb(image: Image.Image) -> Image.Image:
    """The image in 8 bits of red, green and blue; 16 bits of grey keep their upper half, `v >> 8`.

    Raises ValueError for pixels whose range nothing tells: floats and 32-bit numbers.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"}):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((values >> max(0, _bits(image) - 8)).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        kind = "floats" if image.mode == "F" else "32-bit numbers"
        raise ValueError(f"its pixels are {kind}, whose range is not known; save it with 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _bits(image: Image.Image) -> int:
    """Bits of a pixel of grey: 16, or what a TIFF says (12)."""
    tags = getattr(image, "tag_v2", None)
    told = tags.get(258, (16,)) if tags is not None else (16,)
    return int(told[0] if isinstance(told, tuple) else told)


def framed(image: Image.Image, shape: tuple[int, int], how: Image.Resampling) -> npt.NDArray[np.generic]:
    """The middle `[h, w, …]` of an image brought to 20/19 of this shape: 304 × 228 of 320 × 240, as depth papers do."""
    height, width = (round(side * 20 / 19) for side in shape)
    top, left = (height - shape[0]) // 2, (width - shape[1]) // 2
    return np.asarray(image.resize((width, height), how))[top : top + shape[0], left : left + shape[1]]


def _decode(content: bytes, source: Source, size: int, square: bool = False, upright: bool = False) -> Bytes:
    with opened(content) as image:
        turn, whole = turn_of(image) if upright else None, rgb(image)
        whole = whole if turn is None else whole.transpose(turn)
        shape, how = (size, size), Image.Resampling.BILINEAR
        pixels = np.asarray(ImageOps.fit(whole, shape, how) if square else whole.resize(shape, how))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resized(size: int, upright: bool = False) -> Transform:
    """RGB images brought to `[3, size, size]` by bilinear interpolation, whatever their proportions were.

    With `upright`, they are turned as EXIF says; published data sets are read as their papers' code read them.
    """
    name = f"rgb-bilinear{'-upright' if upright else ''}-{size}-{VERSION}"
    return Transform(name, (3, size, size), partial(_decode, size=size, upright=upright))


def squared(size: int, upright: bool = False) -> Transform:
    """RGB images as `[3, size, size]`: the middle square, brought to the size by bilinear interpolation.

    `upright` as for `resized`.
    """
    name = f"rgb-square{'-upright' if upright else ''}-{size}-{VERSION}"
    return Transform(name, (3, size, size), partial(_decode, size=size, square=True, upright=upright))
