"""Patterns of local files: what exists under its own name is no pattern."""

import pathlib

import pytest

from lxmert_tf.data.batches import find_records
from lxmert_tf.errors import InputError
from lxmert_tf.local_files import match_local


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photo[0].png", "photo0.png", ".hidden.png", "my [v2]/a.png", "my [v2]/b/c.png"):
        path = pathlib.Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["photo0.png", "photo[0].png"]),
        ("photo[0].png", ["photo[0].png"]),
        ("photo[0-9].png", ["photo0.png"]),
        ("my [v2]/*.png", ["my [v2]/a.png"]),
        ("my [v2]/**/*.png", ["my [v2]/a.png", "my [v2]/b/c.png"]),
        ("my [v2]/[ab].png", ["my [v2]/a.png"]),
        (".hidden.png", [".hidden.png"]),
        ("my*/[ab]/*", ["my [v2]/b/c.png"]),
        ("none*", []),
        ("", []),
        ("a\0b", []),
    ],
)
def test_patterns_of_local_files(folder, pattern, expected):
    assert match_local(pattern) == expected
    absolute = [str(folder / name) for name in expected]
    if pattern:
        assert match_local(f"{folder}/{pattern}") == absolute


def test_records_may_have_brackets_in_their_names(folder):
    records = folder / "run [2]"
    records.mkdir()
    for name in ("scenes[0].tfrecord", ".scenes.tfrecord"):
        (records / name).write_bytes(b"")
    expected = ["run [2]/scenes[0].tfrecord"]
    for pattern in ("run [2]", "run [2]/*", "run [2]/scenes[0].tfrecord"):
        assert find_records(pattern) == expected
    with pytest.raises(InputError, match="no files match run 2"):
        find_records("run 2")
