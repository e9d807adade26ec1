"""Data files of the original release: read where they are, else the test says why it is skipped."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(
    os.environ.get("LXMERT_REFERENCE", pathlib.Path(__file__).parents[2] / "shared" / "reference")
)


def reference_file(name: str) -> pathlib.Path:
    """The path of one file; skips the test where it is absent."""
    if not (ROOT / name).is_file():
        pytest.skip(f"needs the release's {name}; set LXMERT_REFERENCE to its folder")
    return ROOT / name
