"""JSON lines: each line for itself."""

import gzip
import json

import pytest

from lxmert_tf.errors import InputError
from pipeline.ingest.files import find_inputs
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.parsers import json_items as json_line_items
from pipeline.ingest.parsers.json_items import Item, read_json_lines


@pytest.fixture
def lines(tmp_path):
    def read(data: bytes, name: str = "lines.jsonl"):
        (tmp_path / name).write_bytes(data)
        return list(read_json_lines(find_inputs([str(tmp_path / name)])[0]))

    return read


def test_values_have_the_number_of_their_line(lines):
    items = lines(b'\xef\xbb\xbf{"a": 1}\r\n\n  \n2\n"last"')
    assert items == [Item(1, "", {"a": 1}), Item(4, "", 2), Item(5, "", "last")]


@pytest.mark.parametrize(
    "broken",
    [b"{", b'{"a": 1} 2', b"x", b'"\xff', b"[" * 100_000],
    ids=["cut", "two", "word", "bytes", "deep"],
)
def test_a_broken_line_is_alone(lines, broken):
    before, problem, after = lines(b"1\n" + broken + b"\n2\n")
    assert (before.value, after.value) == (1, 2)
    assert (problem.line, problem.id) == (2, "")


def test_a_line_without_end_does_not_fill_the_memory(lines, monkeypatch):
    monkeypatch.setattr(json_line_items, "LONGEST", 100)
    before, problem, after = lines(b'1\n"' + b"x" * 1000 + b'"\n2\n')
    assert (before.value, after.value) == (1, 2)
    assert problem == ReadError(2, "", "the line is too long to be an item")


def test_a_list_is_refused(lines):
    with pytest.raises(InputError, match=r"lines\.jsonl: holds a JSON list"):
        lines(b'[{"a": 1}]')


def test_a_damaged_archive_gives_what_is_before(lines):
    data = gzip.compress("".join(f"{json.dumps(n)}\n" for n in range(100_000)).encode())
    *items, problem = lines(data[: len(data) // 2], "cut.jsonl.gz")
    assert [item.value for item in items] == list(range(len(items)))
    assert len(items) > 30_000
    assert problem.reason == "the compressed file is damaged or cut short from here on"
