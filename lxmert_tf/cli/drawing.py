"""The file that a command draws into."""

import os
import pathlib
from collections.abc import Sequence


def check_drawing(path: str, image: str, suffixes: Sequence[str]) -> pathlib.Path:
    """Return the path of a drawing that can be written.

    Args:
        path: The drawing's file.
        image: The file of the image that is drawn.
        suffixes: Endings that the drawing may have, in lower case.

    Raises:
        InputError: It has another ending, cannot be written, or would replace the image.
    """
    from lxmert_tf.atomic_write import check_file
    from lxmert_tf.errors import InputError

    output = pathlib.Path(path)
    if output.suffix.lower() not in suffixes:
        raise InputError(f"{output}: output must end in {', '.join(suffixes)}")
    check_file(output)
    if output.exists() and os.path.samefile(output, image):
        raise InputError(f"{output}: is the input image; name another file")
    return output
