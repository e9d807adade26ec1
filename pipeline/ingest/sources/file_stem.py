"""The image that a file is for, by its name."""

import posixpath
import re

from pipeline.ingest.files import InputFile

# OpenVQA's files are called NAME.jpg.npz.
_PICTURE_ENDING = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)


def image_id_of(file: InputFile) -> str:
    """The file's name without folder and ending: of `train2014/COCO_1.jpg.npz` it is `COCO_1`."""
    stem, _ = posixpath.splitext(posixpath.basename(file.content_name.replace("\\", "/")))
    return _PICTURE_ENDING.sub("", stem)
