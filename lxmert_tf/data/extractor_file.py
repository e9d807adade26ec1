"""`extractor.json`, beside records and exported models: what made their regions."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from lxmert_tf.config_file import read_mapping

EXTRACTOR = "extractor.json"


def write_extractor(folder, extractor: dict[str, Any]) -> None:
    """Writes the config of a region extractor into a folder."""
    text = json.dumps(extractor, indent=1) + "\n"
    (pathlib.Path(folder) / EXTRACTOR).write_text(text, encoding="utf-8")


def read_extractor(files: Sequence[str]) -> dict[str, Any] | None:
    """The config that lies beside the first of some files, or None if there is none."""
    path = pathlib.Path(files[0]).parent / EXTRACTOR
    return read_mapping(path) if path.exists() else None
