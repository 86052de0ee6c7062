"""Images as rows of a cache."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from workloads.cache import Bytes, Source, Transform

VERSION: Final = 1
"""Raise it when the pixels below change."""


@contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """An image in a file; whatever is wrong with it, there or while it is used, is raised as ValueError."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            yield image
    except UnidentifiedImageError as err:
        raise ValueError("not an image of a known kind") from err
    # What Pillow's decoders raise for broken files; an image of 180 megapixels or more is taken for an attack.
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as err:
        raise ValueError(str(err) or type(err).__name__) from err


def framed(image: Image.Image, shape: tuple[int, int], how: Image.Resampling) -> npt.NDArray[np.generic]:
    """The middle `[h, w, …]` of an image brought to 20/19 of this shape: 304 × 228 of 320 × 240, as depth papers do."""
    height, width = (round(side * 20 / 19) for side in shape)
    top, left = (height - shape[0]) // 2, (width - shape[1]) // 2
    return np.asarray(image.resize((width, height), how))[top : top + shape[0], left : left + shape[1]]


def _decode(content: bytes, source: Source, size: int, square: bool = False) -> Bytes:
    with opened(content) as image:
        whole, shape, how = image.convert("RGB"), (size, size), Image.Resampling.BILINEAR
        pixels = np.asarray(ImageOps.fit(whole, shape, how) if square else whole.resize(shape, how))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resized(size: int) -> Transform:
    """RGB images brought to `[3, size, size]` by bilinear interpolation, whatever their proportions were."""
    return Transform(f"rgb-bilinear-{size}-{VERSION}", (3, size, size), partial(_decode, size=size))


def squared(size: int) -> Transform:
    """RGB images as `[3, size, size]`: the middle square, brought to the size by bilinear interpolation."""
    return Transform(f"rgb-square-{size}-{VERSION}", (3, size, size), partial(_decode, size=size, square=True))
