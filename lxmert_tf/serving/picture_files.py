"""Pictures as the files that a model with a detector takes."""

import io

import numpy as np
from PIL import Image

from lxmert_tf.regions.image import decode_image

# What the files begin with.
JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def picture_file(image: np.ndarray | bytes) -> bytes:
    """Return an image as a JPEG or PNG file.

    Args:
        image: uint8 [height, width, 3], or the contents of an image file in any format. A JPEG or
            PNG file stays as it is; everything else becomes a PNG file of the same pixels.

    Raises:
        InputError: The contents are not those of an image.
    """
    if isinstance(image, bytes):
        if image.startswith((JPEG, PNG)):
            return image
        image = decode_image(io.BytesIO(image))
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
