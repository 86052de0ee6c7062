"""Images as rows of a cache."""

import io
import struct
from functools import partial
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from workloads.cache import Bytes, Transform

VERSION: Final = 1
"""Raise it when the pixels below change."""


def _decode(content: bytes, size: int, square: bool = False) -> Bytes:
    try:
        with Image.open(io.BytesIO(content)) as image:
            whole, shape, how = image.convert("RGB"), (size, size), Image.Resampling.BILINEAR
            pixels = np.asarray(ImageOps.fit(whole, shape, how) if square else whole.resize(shape, how))
    except UnidentifiedImageError as err:
        raise ValueError("not an image of a known kind") from err
    # What Pillow's decoders raise for broken files; an image of 180 megapixels or more is taken for an attack.
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError) as err:
        raise ValueError(str(err) or type(err).__name__) from err
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def resized(size: int) -> Transform:
    """RGB images brought to `[3, size, size]` by bilinear interpolation, whatever their proportions were."""
    return Transform(f"rgb-bilinear-{size}-{VERSION}", (3, size, size), partial(_decode, size=size))


def squared(size: int) -> Transform:
    """RGB images as `[3, size, size]`: the middle square, brought to the size by bilinear interpolation."""
    return Transform(f"rgb-square-{size}-{VERSION}", (3, size, size), partial(_decode, size=size, square=True))
