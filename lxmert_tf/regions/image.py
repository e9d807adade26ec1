"""Pictures from files, as RGB."""

import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lxmert_tf.errors import InputError


def read_image(path) -> np.ndarray:
    """Reads a picture the way a person sees it: turned as its EXIF says, transparency on white.

    Args:
        path: a file in any format that Pillow reads.

    Returns:
        uint8 [height, width, 3].

    Raises:
        InputError: the file is missing, is no image, is cut short, or is too large to decode.
    """
    try:
        with warnings.catch_warnings():
            # Pillow only warns between one and two times its limit; such a picture is refused too.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return np.asarray(_on_white(ImageOps.exif_transpose(picture)))
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: not an image that can be read (PNG, JPEG, ...)") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: the image is too large; at most 89 megapixels") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or f'broken image ({error})'}") from error
    except (ValueError, SyntaxError, IndexError, EOFError) as error:
        # What Pillow's decoders raise on damaged files.
        raise InputError(f"{path}: broken image ({error})") from error


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode == "I":
        picture = Image.fromarray((np.asarray(picture, np.float32) / 257).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
