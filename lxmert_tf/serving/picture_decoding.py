"""Pictures from the bytes of their files, inside a graph of core TensorFlow ops.

What `lxmert_tf.regions.image` does in Python, for JPEG and PNG. PNG files give the same pixels.
Those of JPEG files may differ by a few levels, because TensorFlow has its own version of libjpeg.
"""

from collections.abc import Callable

import tensorflow as tf

from lxmert_tf.regions.image import TOO_LARGE
from lxmert_tf.serving.picture_files import JPEG, PNG

BROKEN = "broken image"
UNKNOWN = "not a JPEG or PNG image"

# As Pillow's limit, see `TOO_LARGE`. It is checked before memory is taken for the pixels.
MAX_PIXELS = 1024**3 // 4 // 3
# The most parts of a file that are searched. A file could consist of nothing but tiny ones.
MAX_PARTS = 10_000

# EXIF tag of the orientation, and the types of its value: unsigned integers of 2 and 4 bytes.
_ORIENTATION = 0x0112
_SHORT, _LONG = 3, 4


def decode_picture(contents):
    """Decode a picture as people see it: rotated according to EXIF, and with a white background.

    Args:
        contents: string scalar, the bytes of a JPEG or PNG file.

    Returns:
        uint8 [height, width, 3], RGB, and a string scalar, the reason of a refusal or empty.
        A refused picture has no pixels.
    """
    refused = _no_pixels(), tf.constant(BROKEN)
    pixels, problem = _without_errors(_decode, contents, refused)
    orientation = _without_errors(_orientation, contents, tf.constant(1))
    return _upright(pixels, orientation), problem


def _without_errors(function: Callable, contents, default):
    """Return `function(contents)`, or the default if an op of the function fails.

    Args:
        function: Function of a string scalar.
        contents: string scalar.
        default: Tensors with the dtypes and ranks of the function's results.
    """
    # In a graph, only data sets can go on after an error.
    plain = tf.autograph.experimental.do_not_convert(function)
    results = tf.data.Dataset.from_tensors(contents).map(plain).ignore_errors()
    defaults = tf.data.Dataset.from_tensors(default)
    return results.concatenate(defaults).take(1).get_single_element()


def _decode(contents):
    """Return the pixels, not yet upright, and the problem; ops fail if the file is broken."""
    return tf.case(
        [
            (_starts_with(contents, JPEG), lambda: _decode_jpeg(contents)),
            (_starts_with(contents, PNG), lambda: _decode_png(contents)),
        ],
        default=lambda: (_no_pixels(), tf.constant(UNKNOWN)),
    )


def _decode_jpeg(contents):
    height, width, _ = tf.unstack(tf.image.extract_jpeg_shape(contents))
    # The method of Pillow; TensorFlow's default is less exact.
    decode = tf.io.decode_jpeg
    return _if_small(
        height, width, lambda: decode(contents, channels=3, dct_method="INTEGER_ACCURATE")
    )


def _decode_png(contents):
    # The first chunk is the header.
    width, height = tf.unstack(_big_endian(contents, 16, 2))
    bits, color_type = tf.unstack(_bytes(contents, 24, 2))
    transparency = _png_chunk(contents, b"tRNS", last=b"IDAT")
    opaque = (transparency == b"") & ~_is_one_of(color_type, (4, 6))

    def decode(channels: int):
        return tf.cond(
            (bits == 16) & (color_type == 0),
            # Of other pictures of 16 bits, Pillow takes the upper byte, as TensorFlow does.
            lambda: _to_eight_bits(tf.io.decode_png(contents, channels, tf.uint16)),
            lambda: tf.io.decode_png(contents, channels),
        )

    return _if_small(
        height, width, lambda: tf.cond(opaque, lambda: decode(3), lambda: _on_white(decode(4)))
    )


def _if_small(height, width, decode: Callable):
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.cond(
        pixels > MAX_PIXELS,
        lambda: (_no_pixels(), tf.constant(TOO_LARGE)),
        lambda: (decode(), tf.constant("")),
    )


def _to_eight_bits(values):
    return tf.cast(tf.round(tf.cast(values, tf.float32) * (255 / 65535)), tf.uint8)


def _on_white(pixels):
    """Return uint8 [height, width, 3] of RGBA pixels on white, rounded as Pillow does."""
    values = tf.cast(pixels, tf.int32)
    alpha = values[..., 3:]
    total = 128 * (values[..., :3] * alpha + 255 * (255 - alpha) + 128)
    total += tf.bitwise.right_shift(total, 8)
    return tf.cast(tf.bitwise.right_shift(total, 15), tf.uint8)


def _upright(pixels, orientation):
    """Turn and mirror pixels uint8 [height, width, 3] as an orientation of EXIF says."""
    transposed = (orientation >= 5) & (orientation <= 8)
    upside_down = _is_one_of(orientation, (3, 4, 7, 8))
    mirrored = _is_one_of(orientation, (2, 3, 6, 7))
    pixels = tf.transpose(pixels, tf.where(transposed, [1, 0, 2], [0, 1, 2]))
    axes = tf.boolean_mask([0, 1], tf.stack([upside_down, mirrored]))
    return tf.ensure_shape(tf.reverse(pixels, axes), [None, None, 3])


def _orientation(contents):
    """Return the EXIF orientation of a JPEG or PNG file, int32; ops fail if EXIF is damaged."""
    exif = tf.cond(
        _starts_with(contents, JPEG),
        lambda: _jpeg_exif(contents),
        lambda: _png_chunk(contents, b"eXIf", last=b"IEND"),
    )
    return _tiff_orientation(exif)


def _jpeg_exif(contents):
    """Return the EXIF of a JPEG file, string, from its segments before the pixels."""

    def next_segment(at, exif):
        start, marker, *length = tf.unstack(_bytes(contents, at, 4))
        size = 256 * length[0] + length[1]
        is_exif = (marker == 0xE1) & (tf.strings.substr(contents, at + 4, 6) == b"Exif\0\0")
        exif = tf.where(is_exif, tf.strings.substr(contents, at + 10, size - 8), exif)
        # A marker may follow any number of 0xFF.
        following = at + tf.where(marker == 0xFF, 1, 2 + size)
        ended = (start != 0xFF) | _is_one_of(marker, (0xD9, 0xDA))
        return tf.where(ended, -1, following), exif

    return _search(next_segment, start=2)


def _png_chunk(contents, name: bytes, last: bytes):
    """Return the content of a chunk of a PNG file, string; empty if there is none before `last`."""

    def next_chunk(at, content):
        [size] = tf.unstack(_big_endian(contents, at, 1))
        kind = tf.strings.substr(contents, at + 4, 4)
        content = tf.cond(
            kind == name, lambda: tf.strings.substr(contents, at + 8, size), lambda: content
        )
        # Name, length and checksum are four bytes each.
        return tf.where(kind == last, -1, at + 12 + size), content

    return _search(next_chunk, start=8)


def _search(step: Callable, start: int):
    """Go from part to part of a file until something is found, and return it.

    Args:
        step: Function of the position of a part and of what is found, a string that is empty until
            then. It returns them for the next part. A position below 0 ends the search.
        start: Position of the first part.
    """
    _, found = tf.while_loop(
        lambda at, found: (at >= 0) & (found == b""),
        step,
        (tf.constant(start), tf.constant(b"")),
        maximum_iterations=MAX_PARTS,
        parallel_iterations=1,
    )
    return found


def _tiff_orientation(exif):
    """Return the orientation in the first directory of tags, int32; 1 if there is none."""
    is_little = tf.strings.substr(exif, 0, 2) == b"II"

    def number(values):
        values = tf.where(is_little, values[..., ::-1], values)
        weights = [256**i for i in reversed(range(values.shape[-1]))]
        return tf.reduce_sum(values * tf.constant(weights), axis=-1)

    start = number(_bytes(exif, 4, 4))
    count = number(_bytes(exif, start, 2))
    entries = tf.io.decode_raw(tf.strings.substr(exif, start + 2, 12 * count), tf.uint8)
    # As many as there are, if the directory is cut short.
    whole = tf.size(entries) // 12
    entries = tf.cast(tf.reshape(entries[: 12 * whole], [-1, 12]), tf.int32)
    tags, types, counts = (number(entries[:, a:b]) for a, b in ((0, 2), (2, 4), (4, 8)))
    short = (types == _SHORT) & _is_one_of(counts, (1, 2))
    long = (types == _LONG) & (counts == 1)
    values = tf.where(short, number(entries[:, 8:10]), number(entries[:, 8:12]))
    valid = (tags == _ORIENTATION) & (short | long)
    return tf.concat([[1], tf.boolean_mask(values, valid)], axis=0)[-1]


def _no_pixels():
    return tf.zeros([0, 0, 3], tf.uint8)


def _starts_with(contents, prefix: bytes):
    return tf.strings.substr(contents, 0, len(prefix)) == prefix


def _bytes(contents, at, count: int):
    """Return int32 [count], bytes of a string; fails if there are fewer."""
    values = tf.io.decode_raw(tf.strings.substr(contents, at, count), tf.uint8)
    return tf.cast(tf.ensure_shape(values, [count]), tf.int32)


def _big_endian(contents, at, count: int):
    """Return int32 [count], numbers of four bytes each; fails if there are fewer."""
    part = tf.strings.substr(contents, at, 4 * count)
    return tf.ensure_shape(tf.io.decode_raw(part, tf.int32, little_endian=False), [count])


def _is_one_of(value, options: tuple[int, ...]):
    return tf.reduce_any(value[..., tf.newaxis] == tf.constant(options), axis=-1)
