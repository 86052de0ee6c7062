"""Images of every kind as bytes: the picture that people see, or one message."""

import io
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from workloads.cache import Source
from workloads.data.images import FORMATS, opened, resized, rgb, squared

SOURCE = Source(Path("a.png"), "a.png")
RAMP = np.linspace(0, 65535, 16 * 12).astype(np.uint16).reshape(12, 16)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def pixels(content: bytes, upright: bool = True) -> np.ndarray:
    return np.asarray(resized(16, upright).decode(content, SOURCE))


def grey(values: np.ndarray) -> np.ndarray:
    return pixels(saved(Image.fromarray(values.astype(np.uint8))))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bits_of_grey_keep_their_upper_half(kind: str) -> None:
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    assert np.array_equal(pixels(saved(Image.fromarray(RAMP), kind, **options)), grey(RAMP >> 8))


def test_12_bits_of_a_tiff_are_scaled_as_12_bits() -> None:
    image = Image.fromarray(RAMP >> 4)
    image.format, image.tag_v2 = "TIFF", {258: (12,)}  # type: ignore[attr-defined]  # Pillow writes none itself
    assert np.array_equal(np.asarray(rgb(image))[..., 0], RAMP >> 8)


@pytest.mark.parametrize(("kind", "said"), [("float32", "floats"), ("int32", "32-bit numbers")])
def test_pixels_without_a_known_range_are_refused(kind: str, said: str) -> None:
    content = saved(Image.fromarray((RAMP / 65535).astype(kind)), "TIFF")
    for transform in (resized(16), squared(16)):
        with pytest.raises(ValueError, match=f"its pixels are {said}, whose range is not known; save it with 8 or 16"):
            transform.decode(content, SOURCE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_of_8_bits_is_read_as_its_colours(mode: str) -> None:
    image = Image.fromarray((RAMP >> 8).astype(np.uint8)).convert(mode)
    kind = "TIFF" if mode in {"CMYK", "YCbCr"} else "PNG"
    assert np.array_equal(pixels(saved(image, kind)), pixels(saved(image.convert("RGB"))))


def test_a_palette_with_transparency_is_read_as_its_colours() -> None:
    image = Image.fromarray((RAMP >> 8).astype(np.uint8)).convert("P")
    assert np.array_equal(pixels(saved(image, transparency=bytes(range(256)))), pixels(saved(image.convert("RGB"))))


def scene() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(np.kron(rng.integers(0, 255, (3, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8))


def turned(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return saved(scene(), kind, exif=exif)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_image_is_turned_as_its_orientation_says(kind: str) -> None:
    views = []
    for orientation in range(1, 9):
        content = turned(orientation, kind)
        with Image.open(io.BytesIO(content)) as image:
            wanted = ImageOps.exif_transpose(image).convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
        views.append(pixels(content))
        assert np.array_equal(views[-1], np.asarray(wanted).transpose(2, 0, 1)), orientation
    assert len({view.tobytes() for view in views}) == 8


def test_published_data_sets_are_read_as_their_papers_read_them() -> None:
    assert np.array_equal(pixels(turned(6, "PNG"), upright=False), pixels(saved(scene())))
    assert resized(16).name != resized(16, upright=True).name


def test_a_broken_exif_part_is_no_reason_to_refuse_the_pixels() -> None:
    wanted = pixels(saved(scene(), "JPEG"))
    for exif in (b"Exif\0\0II*\0" + bytes(2), b"Exif\0\0nothing", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            assert np.array_equal(pixels(saved(scene(), "JPEG", exif=exif)), wanted)


def test_files_that_start_other_programs_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: object, **options: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", none)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    for content in (postscript, saved(scene(), "EPS"), saved(scene(), "TGA"), b"", b"GIF89a"):
        with pytest.raises(ValueError, match=r"not an image of a known kind \(.*PNG"):
            pixels(content)


def test_an_image_that_unpacks_to_too_much_is_refused() -> None:
    content = bytearray(saved(Image.new("1", (8, 8)), "BMP"))
    content[18:26] = (100_000).to_bytes(4, "little") * 2
    with pytest.raises(ValueError, match="exceeds limit"):
        pixels(bytes(content))


WHOLE = {kind: saved(scene(), kind) for kind in FORMATS}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8), st.data())
def test_any_bytes_are_an_image_or_one_message(kind: str, changes: list[tuple[int, int]], data: st.DataObject) -> None:
    content = bytearray(WHOLE[kind])
    for place, value in changes:
        content[place % len(content)] = value
    cut = data.draw(st.integers(len(content) // 4, len(content)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert pixels(bytes(content[:cut])).shape == (3, 16, 16)
        except ValueError as err:
            assert 0 < len(str(err)) < 400 and str(err).isprintable()


def test_errors_of_any_decoder_are_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyError("x"), RuntimeError("\x1b[31mno\nno"), IndexError(), MemoryError(), SyntaxError("no")):

        def fails(*args: object, error: Exception = error, **options: object) -> None:
            raise error

        monkeypatch.setattr(Image, "open", fails)
        with pytest.raises(ValueError, match=r"^[ -~]+$"), opened(b""):
            pass
