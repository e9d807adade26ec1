"""Pictures from files: every kind as a person sees it, and one line about what is no picture."""

import io
import pathlib
import struct
import subprocess
import sys
import warnings
import zlib

import easy_vqa
import hypothesis
import hypothesis.strategies
import numpy as np
import pytest
from PIL import Image

from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import decode_image, read_image
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
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n", "a broken PNG image"),
        (REAL[: len(REAL) // 2], "the file is cut short"),
        (REAL[:60], "the file is cut short"),
        (REAL[:50] + bytes(20) + REAL[70:], "broken image"),
        (png(0, 5), "image"),
        (png(4, 4, b"\0" * 3), "the file is cut short"),
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


def test_the_limit_of_pixels_does_not_rest_on_warnings_which_threads_share():
    class Interrupted(io.BytesIO):
        def read(self, *size):
            # As another thread does that leaves `warnings.catch_warnings`.
            warnings.simplefilter("ignore")
            return super().read(*size)

    with pytest.raises(InputError, match=r"^the image is too large; at most 89 megapixels$"):
        decode_image(Interrupted(png(10_000, 10_000)))


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


# Damaged metadata, and kinds of pixels: what people report to Pillow's developers.


def rational(numerator: int, denominator: int) -> bytes:
    return struct.pack("<2I", numerator, denominator)


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF with an orientation of 6 and other entries (tag, type, count, content)."""
    entries = sorted([(0x0112, 3, 1, struct.pack("<H", 6)), *entries])
    table, contents = struct.pack("<H", len(entries)), b""
    after = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, content in entries:
        if len(content) > 4:
            offset = struct.pack("<I", after + len(contents))
            contents, content = contents + content, offset
        table += struct.pack("<HHI", tag, kind, count) + content.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + table + bytes(4) + contents


DAMAGED_EXIF = {
    "a rational over zero": exif((0x011A, 5, 1, rational(1, 0))),
    "a negative rational over zero": exif((0x9204, 10, 1, struct.pack("<2i", -1, 0))),
    "text as a number": exif((0x011A, 2, 5, b"fast\0")),
    "a number as text": exif((0x010F, 4, 1, struct.pack("<I", 7))),
    "bytes as a rational": exif((0x829A, 7, 3, b"\1\2\3")),
    "too many values": exif((0x011A, 5, 3, rational(1, 0) * 3)),
    "an unknown type": exif((0x011A, 99, 1, b"\0\0\0\0")),
    "a directory outside": exif((0x8769, 4, 1, struct.pack("<I", 1 << 30))),
    "a directory that is a rational": exif((0x8825, 5, 1, rational(0, 0))),
    "values outside": exif((0x9286, 2, 1 << 20, struct.pack("<I", 1 << 20))),
}


@pytest.mark.parametrize("name", DAMAGED_EXIF)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_picture_whose_metadata_are_damaged_is_turned_nevertheless(
    tmp_path, recwarn, name, suffix
):
    picture = Image.new("RGB", (20, 10), (200, 30, 30))
    read = saved(tmp_path, picture, f"picture.{suffix}", exif=DAMAGED_EXIF[name])
    assert read.shape == (20, 10, 3)
    assert not list(recwarn)


@pytest.mark.parametrize("metadata", [b"", b"Exif\0\0", b"Exif\0\0nonsense", exif()[:20]])
def test_a_picture_whose_metadata_cannot_be_read_is_not_turned(tmp_path, metadata):
    read = saved(tmp_path, Image.new("RGB", (20, 10)), "picture.jpg", exif=metadata)
    assert read.shape[2] == 3 and set(read.shape[:2]) == {20, 10}


def tiff(width: int, height: int, tags: dict[int, tuple], data: bytes) -> bytes:
    """An uncompressed TIFF file of one strip; tags hold (type, values)."""
    bits = tags.get(258, (3, (8,)))
    tags = {
        256: (3, (width,)),
        257: (4, (height,)),
        258: bits,
        262: (3, (1 if len(bits[1]) == 1 else 2,)),
        277: (3, (len(bits[1]),)),
        278: (3, (min(height, 1 << 15),)),
        279: (4, (len(data),)),
        **tags,
    }
    sizes = {1: "B", 3: "H", 4: "I", 5: "2I", 10: "2i"}
    tags[273] = (4, (0,))
    entries, contents = [], b""
    after = 8 + 2 + 12 * len(tags) + 4
    packed = {tag: struct.pack(f"<{len(v)}{sizes[t][-1]}", *v) for tag, (t, v) in tags.items()}
    start = after + sum(len(content) for content in packed.values() if len(content) > 4)
    packed[273] = struct.pack("<I", start)
    for tag, (kind, values) in sorted(tags.items()):
        content = packed[tag]
        if len(content) > 4:
            offset = after + len(contents)
            contents, content = contents + content, struct.pack("<I", offset)
        count = len(values) // (2 if kind in (5, 10) else 1)
        entries.append(struct.pack("<HHI", tag, kind, count) + content.ljust(4, b"\0"))
    table = struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + table + contents + data


def read_bytes(content: bytes) -> np.ndarray:
    return decode_image(io.BytesIO(content))


def test_a_tiff_file_whose_metadata_are_damaged_is_turned_nevertheless():
    tags = {274: (3, (6,)), 282: (5, (1, 0)), 283: (10, (-1, 0)), 34665: (4, (1 << 30,))}
    read = read_bytes(tiff(3, 1, tags, b"\x00\x80\xff"))
    np.testing.assert_array_equal(read[:, 0, 0], [0, 128, 255])
    assert read.shape == (3, 1, 3)


def test_a_tiff_file_that_lacks_rows_is_refused():
    with pytest.raises(InputError, match=r"broken image \(rows of pixels are missing\)"):
        read_bytes(tiff(2, 1 << 16, {}, bytes(1 << 16)))


QUARTERS = np.array([[0, 0.25], [0.5, 1]], np.float32)
SEEN = np.array([[0, 64], [128, 255]])


@pytest.mark.parametrize(
    "pixels",
    [
        QUARTERS,
        np.rint(QUARTERS * 255),
        np.rint(QUARTERS * 65535),
        np.rint(QUARTERS * 255).astype(np.int32),
        np.rint(QUARTERS * 65535).astype(np.int32),
        np.rint(QUARTERS * 65535).astype(np.uint16),
        np.rint(QUARTERS * 65535).astype(np.dtype(">u2")),
    ],
    ids=["0..1", "0..255", "0..65535", "int 0..255", "int 0..65535", "16 bits", "big endian"],
)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_gray_of_more_than_eight_bits_is_scaled(tmp_path, pixels, compression):
    read = saved(tmp_path, Image.fromarray(pixels), "picture.tiff", compression=compression)
    assert read.shape == (2, 2, 3)
    np.testing.assert_allclose(read[..., 0], SEEN, atol=1)
    assert (read == read[..., :1]).all()


@pytest.mark.parametrize(
    "values",
    [[0, 1.5], [-1, 1], [0, 300.5], [0, 70000], [np.nan, 0], [0, np.inf]],
    ids=["1.5", "negative", "fractions", "large", "NaN", "infinite"],
)
def test_gray_without_a_known_white_is_refused(tmp_path, values):
    picture = Image.fromarray(np.array([values], np.float32))
    with pytest.raises(InputError, match=r"32-bit pixels must be in 0..1, or whole numbers in 0"):
        saved(tmp_path, picture, "picture.tiff")


def test_gray_in_which_zero_is_white_is_inverted():
    data = np.array([0, 65535], "<u2").tobytes()
    read = read_bytes(tiff(2, 1, {258: (3, (16,)), 262: (3, (0,))}, data))
    np.testing.assert_array_equal(read[0, :, 0], [255, 0])


def test_gray_of_twelve_bits_is_scaled():
    read = read_bytes(tiff(2, 1, {258: (3, (12,))}, b"\xff\xf8\x00"))
    np.testing.assert_array_equal(read[0, :, 0], [255, 128])


def test_a_netpbm_file_of_sixteen_bits_is_scaled():
    # All its pixels are dark; they are not taken for 8 bits.
    read = read_bytes(b"P5 2 1 65535\n" + struct.pack(">2H", 0, 257))
    np.testing.assert_array_equal(read[0, :, 0], [0, 1])


def test_a_transparent_gray_of_sixteen_bits_is_white():
    header = struct.pack(">IIBBBBB", 2, 1, 16, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" + struct.pack(">2H", 300, 30000))
    parts = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(">H", 300)),
        (b"IDAT", pixels),
        (b"IEND", b""),
    ]
    read = read_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    np.testing.assert_array_equal(read[0, :, 0], [255, 117])


def test_colors_of_sixteen_bits_are_scaled():
    data = np.array([0, 32896, 65535], "<u2").tobytes()
    read = read_bytes(tiff(1, 1, {258: (3, (16, 16, 16))}, data))
    np.testing.assert_array_equal(read, [[[0, 128, 255]]])


def test_floats_in_color_are_refused_with_the_cause():
    tags = {258: (3, (32, 32, 32)), 339: (3, (3, 3, 3))}
    data = np.zeros(3, np.float32).tobytes()
    with pytest.raises(InputError, match=r"a broken TIFF image, or of an unusual kind \(unknown"):
        read_bytes(tiff(1, 1, tags, data))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(4) + b"ftypheic" + bytes(30), "a HEIC image, which cannot be read; save it as JPEG"),
        # Programs, which Pillow would run with Ghostscript.
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in a known format"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "not an image in a known format"),
        (b"GIF89a" + bytes(30), "a broken GIF image"),
        # A chunk that must come first, and only once.
        (REAL[:33] + chunk(b"IHDR", b"") + REAL[33:], "PNG image|broken image"),
        # A BigTIFF whose values lie further away than a file can be.
        (
            b"II+\0\x08\0\0\0" + struct.pack("<QQHHQQ", 16, 1, 256, 4, 99, 1 << 63) + bytes(8),
            "broken|not an image",
        ),
        (b"P5 3 1 7\n\x01", "the file is cut short"),
        (b"P2 1 1 70000\n99999999999", "broken|not an image"),
    ],
    ids=["HEIC", "EPS", "HDF5", "GIF", "two headers", "BigTIFF", "short", "number"],
)
def test_reports_of_pillow_bugs_are_refused_in_one_line(content, message):
    with pytest.raises(InputError, match=message) as raised:
        read_bytes(content)
    assert one_line(raised)


SEEDS = {
    "JPEG": {"exif": exif((0x011A, 5, 1, rational(72, 1)), (0x010F, 2, 5, b"make\0"))},
    "PNG": {"exif": exif()},
    "WEBP": {"exif": exif()},
    "GIF": {},
    "TIFF": {"tiffinfo": {274: 6, 282: 72.0}},
}


def seed_of(form: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, [12, 10, 3], np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, form, **SEEDS[form])
    return file.getvalue()


changes = hypothesis.strategies.lists(
    hypothesis.strategies.tuples(
        hypothesis.strategies.floats(0, 1, exclude_max=True),
        hypothesis.strategies.sampled_from([b"\0", b"\xff", b"\x7f", b"\1", b"\0\0\0\x80", None]),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("form", SEEDS)
@hypothesis.given(changes=changes)
@hypothesis.settings(max_examples=60, derandomize=True, database=None)
def test_any_damage_gives_pixels_or_one_line(form, changes):
    content = bytearray(seed_of(form))
    for share, new in changes:
        place = int(share * len(content))
        if new is None:
            del content[max(place, 1) :]
        else:
            content[place : place + len(new)] = new
    try:
        pixels = read_bytes(bytes(content))
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert (pixels.ndim, pixels.shape[2], pixels.dtype) == (3, 3, np.uint8)


def test_a_jpeg_image_of_very_many_scans_is_refused(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(CORNERS).resize([64, 64]).save(path, progressive=True)
    content = path.read_bytes()
    last = content.rindex(b"\xff\xda")
    scan = content[last:-2]
    path.write_bytes(content[:last] + 20 * scan + content[-2:])
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(content[:last] + 300 * scan + content[-2:])
    with pytest.raises(InputError) as raised:
        read_image(path)
    assert "more than 200 scans" in one_line(raised)


def test_a_damaged_tiff_file_prints_nothing(tmp_path):
    file = io.BytesIO()
    Image.fromarray(CORNERS).save(file, "TIFF", compression="tiff_lzw")
    damaged = bytearray(file.getvalue())
    damaged[8:16] = b"\xff" * 8
    (tmp_path / "damaged.tiff").write_bytes(damaged)
    code = """
from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import decode_image, read_image
try:
    read_image("damaged.tiff")
except InputError:
    print("refused")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA", "DDS"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_is_cut_short_is_called_so(form, share):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, [40, 50, 3], np.uint8)).save(
        file, form
    )
    whole = file.getvalue()
    with pytest.raises(InputError, match=r"^the file is cut short$"):
        read_bytes(whole[: int(share * len(whole))])


def test_an_empty_file_is_called_so(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(InputError, match=r"empty.jpg: the file is empty$"):
        read_image(tmp_path / "empty.jpg")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_a_compressed_tiff_file_in_ycbcr_is_read(tmp_path, compression):
    picture = Image.fromarray(CORNERS.repeat(8, 0).repeat(8, 1)).convert("YCbCr")
    read = saved(tmp_path, picture, "picture.tiff", compression=compression)
    np.testing.assert_allclose(read, np.asarray(picture.convert("RGB"), int), atol=4)


def test_an_uncompressed_tiff_file_in_ycbcr_is_refused_with_the_cause(tmp_path):
    picture = Image.fromarray(CORNERS).convert("YCbCr")
    with pytest.raises(InputError, match=r"an uncompressed YCbCr TIFF image; save it as RGB"):
        saved(tmp_path, picture, "picture.tiff")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path, message in (
        (tmp_path / "absent.png", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(InputError) as raised:
            read_image(path)
        assert one_line(raised) == f"{path}: {message}"
