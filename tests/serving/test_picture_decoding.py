"""Pictures decoded in a graph: the pixels that Pillow gives, or why there are none."""

import io
import pathlib
import struct
import zlib

import easy_vqa
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from lxmert_tf.regions.image import TOO_LARGE, decode_image
from lxmert_tf.serving.picture_decoding import BROKEN, MAX_PIXELS, UNKNOWN, decode_picture
from tests.lxmert_tf.regions.test_image import DAMAGED_EXIF, chunk, exif, png

NOISE = np.random.default_rng(0).integers(0, 256, [24, 40, 4], np.uint8)
# As photographs are: neighbors have similar colors. JPEG decoders differ most where they do not.
SMOOTH = Image.fromarray(NOISE[:6, :10, :3]).resize([80, 48], Image.Resampling.BICUBIC)
SIGNATURE = b"\x89PNG\r\n\x1a\n"

_decode = tf.function(decode_picture, input_signature=[tf.TensorSpec([], tf.string)])


def decoded(content: bytes) -> np.ndarray:
    pixels, problem = _decode(tf.constant(content))
    assert problem == b""
    return pixels.numpy()


def problem_of(content: bytes) -> str:
    pixels, problem = _decode(tf.constant(content))
    assert (tf.size(pixels) == 0) == (problem != b"")
    return problem.numpy().decode()


def saved(picture: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def as_pillow(content: bytes) -> np.ndarray:
    return decode_image(io.BytesIO(content))


def deep_png(color_type: int, channels: int, *chunks: bytes) -> bytes:
    """A PNG file of 16 bits per channel, with chunks before the pixels."""
    values = np.random.default_rng(1).integers(0, 1 << 16, [6, 5 * channels]).astype(">u2")
    values[0, :channels] = 1000
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 5, 6, 16, color_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows))]
    return SIGNATURE + b"".join([*parts, chunk(b"IEND", b"")])


RGBA = Image.fromarray(NOISE)
PNGS = {
    "RGB": saved(RGBA.convert("RGB"), "PNG"),
    "RGBA": saved(RGBA, "PNG"),
    "gray": saved(RGBA.convert("L"), "PNG"),
    "gray with alpha": saved(RGBA.convert("LA"), "PNG"),
    "one bit": saved(RGBA.convert("1"), "PNG"),
    "two bits": saved(RGBA.convert("L").quantize(4), "PNG", bits=2),
    "four bits": saved(RGBA.convert("L").quantize(16), "PNG", bits=4),
    "two bits, transparent": saved(RGBA.convert("L").quantize(4), "PNG", bits=2, transparency=1),
    "one bit, transparent": saved(RGBA.convert("1"), "PNG", transparency=255),
    "palette": saved(RGBA.convert("RGB").quantize(200), "PNG"),
    "transparent palette": saved(RGBA.convert("RGB").quantize(9), "PNG", transparency=3),
    "palette with alpha": saved(
        RGBA.convert("RGB").quantize(9), "PNG", transparency=bytes(range(0, 180, 20))
    ),
    "transparent color": saved(
        RGBA.convert("RGB"), "PNG", transparency=tuple(map(int, NOISE[3, 4, :3]))
    ),
    "transparent gray": saved(RGBA.convert("L"), "PNG", transparency=77),
    "16 bits gray": deep_png(0, 1),
    "16 bits transparent gray": deep_png(0, 1, chunk(b"tRNS", struct.pack(">H", 1000))),
    "16 bits RGB": deep_png(2, 3),
    "16 bits gray with alpha": deep_png(4, 2),
    "16 bits RGBA": deep_png(6, 4),
    "real": pathlib.Path(easy_vqa.get_test_image_paths()[0]).read_bytes(),
}


@pytest.mark.parametrize("name", PNGS)
def test_a_png_file_gives_the_pixels_of_pillow(name):
    np.testing.assert_array_equal(decoded(PNGS[name]), as_pillow(PNGS[name]))


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 2}),
        ("RGB", {"progressive": True}),
        ("L", {}),
        ("CMYK", {}),
    ],
)
def test_a_jpeg_file_gives_nearly_the_pixels_of_pillow(mode, options):
    content = saved(SMOOTH.convert(mode), "JPEG", quality=90, **options)
    pixels = decoded(content)
    assert pixels.shape == (48, 80, 3)
    assert np.abs(pixels.astype(int) - as_pillow(content)).max() <= 3


def orientations(order: str, *entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF in the byte order "<" or ">" with entries (tag, type, count, value)."""
    table = b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return b"Exif\0\0" + start + struct.pack(f"{order}H", len(entries)) + table + bytes(4)


def orientation(order: str, value: int) -> bytes:
    return orientations(order, (0x0112, 3, 1, struct.pack(f"{order}HH", value, 0)))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("order", "<>")
def test_a_picture_is_turned_as_its_camera_says(form, order):
    for value in (0, *range(1, 9), 9, 300):
        content = saved(SMOOTH, form, exif=orientation(order, value))
        expected = as_pillow(content)
        assert (expected.shape == (80, 48, 3)) == (5 <= value <= 8)
        np.testing.assert_allclose(decoded(content), expected, atol=3, err_msg=str(value))


ODD_EXIF = {
    "four bytes": orientations("<", (0x0112, 4, 1, struct.pack("<I", 6))),
    "four bytes, big endian": orientations(">", (0x0112, 4, 1, struct.pack(">I", 8))),
    "text": orientations("<", (0x0112, 2, 2, b"6\0\0\0")),
    "two values": orientations("<", (0x0112, 3, 2, struct.pack("<HH", 6, 6))),
    "no entries": orientations("<"),
    "the second entry": orientations(
        ">", (0x0100, 4, 1, bytes(4)), (0x0112, 3, 1, struct.pack(">HH", 6, 0))
    ),
    "a cut directory": orientation("<", 6)[:-4].replace(b"\x01\0\x12\x01", b"\x07\0\x12\x01"),
    "a directory outside": b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(20),
    "a directory before the start": b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(20),
    "another byte order": b"Exif\0\0XX*\0" + orientation("<", 6)[10:],
    **DAMAGED_EXIF,
    **{f"cut at {n}": exif()[:n] for n in range(0, 32, 3)},
}


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_odd_exif_turns_a_picture_as_pillow_does(form):
    for name, metadata in ODD_EXIF.items():
        content = saved(SMOOTH, form, exif=metadata)
        assert decoded(content).shape == as_pillow(content).shape, name


def test_exif_is_found_after_other_parts_of_a_jpeg_file():
    content = saved(SMOOTH, "JPEG", exif=orientation("<", 6), icc_profile=bytes(70_000))
    comment = b"\xff\xfe\x00\x10" + b"\xff\xe1" * 7
    other = b"\xff\xff\xff\xe1\x00\x0ahttp:\0\0\0"
    content = content[:2] + comment + other + content[2:]
    assert decoded(content).shape == as_pillow(content).shape == (80, 48, 3)


def test_exif_is_found_after_the_pixels_of_a_png_file():
    plain = saved(SMOOTH, "PNG")
    end = plain.index(b"IEND") - 4
    content = plain[:end] + chunk(b"eXIf", orientation("<", 6)[6:]) + plain[end:]
    assert decoded(content).shape == as_pillow(content).shape == (80, 48, 3)


def test_what_looks_like_exif_among_the_pixels_turns_nothing():
    plain = saved(SMOOTH, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(orientation("<", 6))) + orientation("<", 6)
    assert decoded(plain + segment).shape == (48, 80, 3)


JPEG = saved(SMOOTH, "JPEG")


def large_jpeg(width: int, height: int) -> bytes:
    frame = JPEG.index(b"\xff\xc0")
    size = struct.pack(">HH", height, width)
    return JPEG[: frame + 5] + size + JPEG[frame + 9 :]


REFUSED = {
    "empty": (b"", UNKNOWN),
    "text": (b"just some words\n" * 20, UNKNOWN),
    "GIF": (saved(SMOOTH, "GIF"), UNKNOWN),
    "signature of PNG": (SIGNATURE, BROKEN),
    "signature of JPEG": (JPEG[:3], BROKEN),
    "header of PNG": (PNGS["RGB"][:60], BROKEN),
    "header of JPEG": (JPEG[:300], BROKEN),
    "half a PNG": (PNGS["RGB"][: len(PNGS["RGB"]) // 2], BROKEN),
    "half a JPEG": (JPEG[: len(JPEG) // 2], BROKEN),
    "zeroed PNG": (PNGS["RGB"][:50] + bytes(20) + PNGS["RGB"][70:], BROKEN),
    "no width": (png(0, 5), BROKEN),
    "short": (png(4, 4, b"\0" * 3), BROKEN),
    "PNG bomb": (png(20_000, 20_000), TOO_LARGE),
    "one pixel too many": (png(MAX_PIXELS + 1, 1), TOO_LARGE),
    "huge PNG": (png((1 << 31) - 1, (1 << 31) - 1), TOO_LARGE),
    "JPEG bomb": (large_jpeg(20_000, 20_000), TOO_LARGE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_picture_that_is_none_is_refused(name):
    content, problem = REFUSED[name]
    assert problem_of(content) == problem


def test_the_limit_of_pixels_is_pillows():
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS


def test_a_file_of_nothing_but_fill_bytes_ends():
    assert problem_of(b"\xff\xd8" + b"\xff" * 3_000_000) == BROKEN


@hypothesis.settings(max_examples=150, derandomize=True)
@hypothesis.given(
    content=st.sampled_from([JPEG, PNGS["palette"], saved(SMOOTH, "JPEG", exif=exif())]),
    place=st.integers(0, 1200),
    change=st.binary(min_size=1, max_size=6),
    cut=st.booleans(),
)
def test_a_file_changed_anywhere_is_decoded_or_refused(content, place, change, cut):
    changed = content[:place] + change + (b"" if cut else content[place + len(change) :])
    assert problem_of(changed) in ("", BROKEN, UNKNOWN, TOO_LARGE)
