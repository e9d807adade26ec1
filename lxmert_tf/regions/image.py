"""Images from files, as RGB."""

import contextlib
import functools
import os
import re
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from lxmert_tf.errors import InputError

# Formats that Pillow recognizes but cannot decode by itself. EPS is a program, which Pillow would
# have Ghostscript run.
_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# What the pictures of iPhones begin with, after four bytes. Pillow does not know their format.
_HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1")

# EXIF tag 0x0112 -> what turns the image upright.
_ORIENTATION = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# TIFF tags: rows of pixels, bits of a pixel, and what zero means, or how colors are given.
_ROWS = 257
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_YCBCR = 6

# Where a pass over the pixels of a JPEG image begins. Progressive ones have about ten; each of the
# thousands that fit into a small file takes as long as the largest image.
_SCAN, _MOST_SCANS = b"\xff\xda", 200

TOO_LARGE = "the image is too large; at most 89 megapixels"
_CUT_SHORT = "the file is cut short"
# What Pillow's decoders say if a file ends too early.
_ENDS_EARLY = re.compile(
    "is truncated|truncated (file|data)|not enough image data|EOF|only got|incomplete header",
    re.IGNORECASE,
)

_STDERR_LOCK = threading.Lock()


def read_image(path) -> np.ndarray:
    """Read an image as people see it: rotated according to EXIF, and with a white background.

    Args:
        path: A file of pixels in any format that Pillow decodes.

    Returns:
        uint8 [height, width, 3].

    Raises:
        InputError: The file is missing, or `decode_image` refuses it.
    """
    try:
        with open(path, "rb") as file:
            return decode_image(file)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def decode_image(file: BinaryIO) -> np.ndarray:
    """Decode an image like `read_image`, from a file that is open.

    Args:
        file: A file that can seek.

    Returns:
        uint8 [height, width, 3].

    Raises:
        InputError: The file is not an image, is broken or too large, or has pixels of a kind that
            has no colors. The message does not name the file, and what follows " (" in it differs
            from file to file.
    """
    with warnings.catch_warnings():
        # About damaged metadata, which do not matter here.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            with Image.open(file, formats=_formats()) as picture:
                _check_size(picture)
                if picture.format in ("JPEG", "MPO"):
                    _check_scans(file)
                upright = _upright(picture)
                # Decoding may find another size.
                _check_size(upright)
                return np.asarray(_to_rgb(upright))
        except Exception as error:
            raise InputError(_reason(error, file)) from error


@functools.lru_cache(maxsize=1)
def _formats() -> list[str]:
    Image.init()
    return [name for name in Image.ID if name not in _NOT_DECODED]


def _check_size(picture: Image.Image) -> None:
    # Up to twice this limit Pillow only warns, and warnings are not safe among threads.
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and picture.width * picture.height > limit:
        raise InputError(TOO_LARGE)


def _check_scans(file: BinaryIO) -> None:
    position = file.tell()
    file.seek(0)
    scans = file.read().count(_SCAN)
    file.seek(position)
    if scans > _MOST_SCANS:
        raise InputError(f"a JPEG image of more than {_MOST_SCANS} scans; save it anew")


def _reason(error: Exception, file: BinaryIO) -> str:
    """Return the reason for which an image is refused.

    Damaged files make Pillow's decoders raise nearly everything: OSError, ValueError, SyntaxError,
    struct.error, KeyError, OverflowError, ZeroDivisionError, RecursionError, and more.
    """
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return _why_unidentified(file)
    if isinstance(error, Image.DecompressionBombError):
        return TOO_LARGE
    if isinstance(error, MemoryError):
        return "broken image, or not enough memory for it"
    if strerror := getattr(error, "strerror", None):
        return strerror
    if _ENDS_EARLY.search(str(error)) or _is_webp_cut_short(file):
        return _CUT_SHORT
    return f"broken image ({_describe(error)})"


def _why_unidentified(file: BinaryIO) -> str:
    # Pillow itself says only that no decoder takes the file.
    file.seek(0)
    prefix = file.read(16)
    if not prefix:
        return "the file is empty"
    if prefix[4:12] in _HEIC:
        return "a HEIC image, which cannot be read; save it as JPEG"
    for name in _formats():
        decoder, recognizes = Image.OPEN[name]
        known: bool | str = False
        try:
            known = recognizes(prefix) if recognizes else False
            if isinstance(known, str):
                return known
            if known:
                file.seek(0)
                decoder(file, "")
        except Exception as error:
            if known and _ENDS_EARLY.search(str(error)):
                return _CUT_SHORT
            if known:
                return f"a broken {name} image, or of an unusual kind ({_describe(error)})"
    return "not an image in a known format (PNG, JPEG, ...)"


def _is_webp_cut_short(file: BinaryIO) -> bool:
    # Of any damaged WebP file Pillow says only that it cannot make a decoder.
    if file.closed:
        return False
    file.seek(0)
    prefix = file.read(12)
    if prefix[:4] + prefix[8:] != b"RIFFWEBP":
        return False
    return file.seek(0, os.SEEK_END) < len(prefix[:8]) + int.from_bytes(prefix[4:8], "little")


def _describe(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _upright(picture: ImageFile.ImageFile) -> Image.Image:
    """Decode the pixels and turn them as EXIF says.

    `ImageOps.exif_transpose` does so too, but then writes the EXIF tags anew, which fails for tags
    that cameras and editors get wrong.
    """
    if picture.format == "TIFF":
        if _tiff_tag(picture, _PHOTOMETRIC) == _YCBCR and picture.tile[0].codec_name == "raw":
            # Pillow would take three bytes of a pixel for four of RGB.
            raise InputError("an uncompressed YCbCr TIFF image; save it as RGB")
        bottoms = [tile.extents[3] for tile in picture.tile if tile.extents]
        if max(bottoms) < _tiff_tag(picture, _ROWS):
            # Pillow would leave them black.
            raise InputError("broken image (rows of pixels are missing)")
        # Decoding a TIFF file turns it, writes the tags, and closes the file.
        orientation = _take_orientation(picture)
        with _without_libtiff_messages():
            picture.load()
    else:
        # PNG files may have EXIF after the pixels.
        picture.load()
        orientation = _take_orientation(picture)
    if not picture.width or not picture.height:
        raise InputError("the image has no pixels")
    turn = _TRANSPOSES.get(orientation)
    return picture if turn is None else picture.transpose(turn)


@contextlib.contextmanager
def _without_libtiff_messages() -> Iterator[None]:
    """Drop what libtiff writes to file descriptor 2 about a damaged file; Pillow raises as well."""
    with _STDERR_LOCK:
        try:
            stderr = os.dup(2)
        except OSError:
            # Closed, so nothing is written.
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _take_orientation(picture: Image.Image) -> int:
    """Remove all EXIF tags from a picture and return its orientation; 1 if EXIF is damaged."""
    orientation = 1
    with contextlib.suppress(Exception):
        value = picture.getexif().get(_ORIENTATION)
        orientation = value if isinstance(value, int) else 1
    with contextlib.suppress(Exception):
        # After an error these are the tags before the damage.
        exif = picture.getexif()
        for tag in list(exif):
            del exif[tag]
    return orientation


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        picture = _to_eight_bits(picture)
    try:
        if not picture.has_transparency_data:
            return picture.convert("RGB")
        picture = picture.convert("RGBA")
    except ValueError as error:
        raise InputError(f"the image is {picture.mode}, not RGB or gray; save it as RGB") from error
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """Scale a gray image whose pixels have more than 8 bits to 0..255."""
    values = np.asarray(picture)
    scaled = np.multiply(values, 255 / _white_of(picture, values), dtype=np.float32)
    gray = np.rint(scaled, out=scaled).astype(np.uint8)
    if _tiff_tag(picture, _PHOTOMETRIC) == 0:
        # White is zero. Pillow inverts only 8 bits.
        gray = 255 - gray
    eight_bits = Image.fromarray(gray)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        alpha = np.where(values == transparent, np.uint8(0), np.uint8(255))
        eight_bits.putalpha(Image.fromarray(alpha))
    return eight_bits


def _white_of(picture: Image.Image, values: np.ndarray) -> int:
    """Return the pixel value that means white."""
    if picture.mode.startswith("I;16"):
        bits = _tiff_tag(picture, _BITS_PER_SAMPLE)
        return 4095 if bits in (12, (12,)) else 65535
    if picture.mode == "I" and picture.format == "PPM":
        return 65535
    # 32 bits. The file does not say; these are what people store.
    low, high = values.min(), values.max()
    if low >= 0:
        if high <= 1:
            return 1
        if high <= 65535 and (values == np.rint(values)).all():
            return 255 if high <= 255 else 65535
    raise InputError(
        "32-bit pixels must be in 0..1, or whole numbers in 0..255 or 0..65535 "
        f"(they are from {low:g} to {high:g})"
    )


def _tiff_tag(picture: Image.Image, tag: int):
    tags = getattr(picture, "tag_v2", None)
    return tags.get(tag) if tags else None
