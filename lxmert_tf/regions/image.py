"""Images from files, as RGB."""

import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lxmert_tf.errors import InputError


def read_image(path) -> np.ndarray:
    """Read an image as people see it: rotated according to EXIF, and with a white background.

    Args:
        path: A file in any format that Pillow reads.

    Returns:
        uint8 [height, width, 3].

    Raises:
        InputError: The file is missing, not an image, cut short, or too large.
    """
    try:
        with warnings.catch_warnings():
            # Between one and two times its limit Pillow only warns; such images are rejected too.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return np.asarray(_on_white(ImageOps.exif_transpose(picture)))
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image in a known format (PNG, JPEG, ...)") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: the image is too large; at most 89 megapixels") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or f'broken image ({error})'}") from error
    except (ValueError, SyntaxError, IndexError, EOFError) as error:
        # Raised by Pillow's decoders for damaged files.
        raise InputError(f"{path}: broken image ({error})") from error


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode == "I":
        picture = Image.fromarray((np.asarray(picture, np.float32) / 257).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
