"""Pictures from files: every kind as a person sees it, and one line about what is no picture."""

import pathlib
import struct
import zlib

import easy_vqa
import numpy as np
import pytest
from PIL import Image

from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import read_image
from tests.lxmert_tf.samples import one_line

# Four corners, so that a turn or a flip shows.
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


def saved(tmp_path, picture, name="picture.png", **arguments):
    picture.save(tmp_path / name, **arguments)
    return read_image(tmp_path / name)


def test_a_real_picture_is_read_as_pillow_reads_it():
    path = easy_vqa.get_test_image_paths()[0]
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    with Image.open(path) as picture:
        np.testing.assert_array_equal(pixels, np.asarray(picture.convert("RGB")))


def test_rgb_is_read_exactly(tmp_path):
    np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(CORNERS)), CORNERS)


def test_transparency_is_seen_on_white(tmp_path):
    pixels = np.dstack([CORNERS, np.array([[255, 0], [128, 255]], np.uint8)])
    read = saved(tmp_path, Image.fromarray(pixels))
    assert read.shape == (2, 2, 3)
    np.testing.assert_array_equal(read[0], [[255, 0, 0], [255, 255, 255]])
    # Half of blue and half of white.
    np.testing.assert_allclose(read[1, 0], [127, 127, 255], atol=1)


def test_a_palette_is_read_as_its_colors(tmp_path):
    picture = Image.fromarray(CORNERS).quantize(4)
    assert picture.mode == "P"
    np.testing.assert_array_equal(saved(tmp_path, picture), CORNERS)


def test_a_transparent_palette_entry_is_white(tmp_path):
    picture = Image.new("P", [2, 1])
    picture.putpalette([9, 9, 9, 0, 0, 200])
    picture.putpixel((1, 0), 1)
    read = saved(tmp_path, picture, transparency=0)
    np.testing.assert_array_equal(read, [[[255, 255, 255], [0, 0, 200]]])


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_gray_has_three_equal_channels(tmp_path, mode):
    gray = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert(mode)
    read = saved(tmp_path, gray)
    np.testing.assert_array_equal(read, np.array([[0, 255], [255, 0]])[..., None].repeat(3, 2))


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path):
    values = np.array([[0, 257], [32896, 65535]], np.uint16)
    for name in ("deep.png", "deep.tiff"):
        read = saved(tmp_path, Image.fromarray(values), name)
        expected = np.array([[0, 1], [128, 255]])[..., None].repeat(3, 2)
        np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, CORNERS),
        (2, CORNERS[:, ::-1]),
        (3, CORNERS[::-1, ::-1]),
        (6, np.rot90(CORNERS, -1)),
        (8, np.rot90(CORNERS)),
    ],
)
def test_a_picture_is_turned_as_its_camera_says(tmp_path, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = saved(tmp_path, Image.fromarray(CORNERS), exif=exif.tobytes())
    np.testing.assert_array_equal(read, turned)


@pytest.mark.parametrize("suffix", ["bmp", "gif", "webp", "tiff", "jpg"])
def test_other_formats_are_read(tmp_path, suffix):
    picture = Image.new("RGB", (20, 10), (200, 30, 30))
    read = saved(tmp_path, picture, f"picture.{suffix}")
    assert read.shape == (10, 20, 3)
    # JPEG and WebP keep colors nearly.
    np.testing.assert_allclose(read.mean(axis=(0, 1)), [200, 30, 30], atol=4)


def test_cmyk_is_read(tmp_path):
    picture = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    read = saved(tmp_path, picture, "print.jpg")
    np.testing.assert_allclose(read[0, 0], [255, 0, 0], atol=4)


def test_the_format_is_the_contents_and_not_the_names(tmp_path):
    Image.fromarray(CORNERS).save(tmp_path / "picture.jpg", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "picture.jpg"), CORNERS)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


REAL = pathlib.Path(easy_vqa.get_test_image_paths()[0]).read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"just some words\n" * 20, "not an image in a known format"),
        (b"", "not an image in a known format"),
        (b"\x89PNG\r\n\x1a\n", "not an image in a known format"),
        (REAL[: len(REAL) // 2], "broken image"),
        (REAL[:60], "broken image"),
        (REAL[:50] + bytes(20) + REAL[70:], "broken image"),
        (png(0, 5), "image"),
        (png(4, 4, b"\0" * 3), "broken image"),
        (png(50_000, 50_000), "the image is too large; at most 89 megapixels"),
        (png(10_000, 10_000), "the image is too large; at most 89 megapixels"),
    ],
    ids=[
        "text",
        "empty",
        "signature",
        "half",
        "header",
        "zeroed",
        "no width",
        "short",
        "bomb",
        "big",
    ],
)
def test_files_that_are_not_images_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_image(path)
    assert one_line(raised).startswith(f"{path}: ")
    assert message in one_line(raised)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_a_picture_cut_or_changed_anywhere_is_read_or_refused(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, [24, 24, 3], np.uint8)
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    random = np.random.default_rng(1)
    refused = 0
    for i in range(60):
        place = int(random.integers(len(data)))
        wrong = data[:place] if i % 2 else data[:place] + b"\xff\x00\xff" + data[place + 3 :]
        path.write_bytes(wrong)
        try:
            image = read_image(path)
        except InputError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
            assert len(str(error).splitlines()) == 1
        else:
            assert (image.ndim, image.shape[2], image.dtype) == (3, 3, np.uint8)
    assert refused >= 20


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path, message in (
        (tmp_path / "absent.png", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(InputError) as raised:
            read_image(path)
        assert one_line(raised) == f"{path}: {message}"
