"""Pictures that visitors upload, as Gradio hands them over."""

import os
import pathlib
from typing import Any

from lxmert_tf.errors import InputError

# Larger files are refused before they are read.
MAX_MEGABYTES = 20
TOO_LARGE = f"the file is too large; at most {MAX_MEGABYTES} MB"
# Gradio keeps uploads in the folder that this variable names.
FOLDER = "GRADIO_TEMP_DIR"
NOT_UPLOADED = "this is no uploaded picture"


def uploaded_path(payload: Any) -> pathlib.Path | None:
    """Return the path of an uploaded file, or None if there is no file.

    Gradio's own preprocessing decodes a picture, and reports another file as an error of the
    program; without it, nothing that a browser sends has been checked.

    Args:
        payload: What the browser sends for a `gradio.Image`.

    Raises:
        InputError: The path leads to another folder.
    """
    path = payload.get("path") if isinstance(payload, dict) else None
    if not isinstance(path, str) or not path:
        return None
    folder = pathlib.Path(os.environ[FOLDER]).resolve()
    try:
        found = pathlib.Path(path).resolve()
    except ValueError as error:
        # It holds a zero character.
        raise InputError(NOT_UPLOADED) from error
    if not found.is_relative_to(folder):
        raise InputError(NOT_UPLOADED)
    return found


def read_picture_file(path: pathlib.Path) -> bytes:
    """Return the contents of a picture's file.

    Args:
        path: An uploaded file, or an example.

    Raises:
        InputError: The file is too large, or cannot be read, as after its removal.
    """
    try:
        if path.stat().st_size > MAX_MEGABYTES * 1_000_000:
            raise InputError(TOO_LARGE)
        return path.read_bytes()
    except OSError as error:
        raise InputError("the picture is no longer here; choose it again") from error
