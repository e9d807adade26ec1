"""Rows by pieces: whatever the cut, every row is read once."""

import contextlib
import gzip
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.files import InputFile, open_input
from pipeline.ingest.interfaces import Piece
from pipeline.ingest.parsers import text_rows
from pipeline.ingest.parsers.text_rows import PieceLines, lines_before, piece_rows, text_pieces

contents = st.lists(
    st.sampled_from(
        [b"a", b"bc", b"\n", b"\n\n", b"\r\n", b"\r\r\n", b"\r", b" ", b"\t", b"defghijk"]
    ),
    max_size=30,
).map(b"".join)
small_sizes = st.integers(1, 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@contextlib.contextmanager
def sizes(piece: int = 1000, block: int = 16, line: int = text_rows.MAX_LINE_BYTES):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_rows, "PIECE_BYTES", piece)
        patch.setattr(text_rows, "BLOCK_BYTES", block)
        patch.setattr(text_rows, "COMPRESSED_BLOCK_BYTES", block)
        patch.setattr(text_rows, "MAX_LINE_BYTES", line)
        yield patch


def written(folder, content: bytes, name: str = "rows.txt") -> InputFile:
    path = folder / name
    path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    return InputFile(str(path), path.stat().st_size)


def expected_rows(content: bytes) -> list[bytes]:
    return [line for line in re.split(rb"\r?\r?\n|\r", content) if line.strip()]


def texts(pieces) -> list[bytes]:
    return [line.text.rstrip(b"\r") for piece in pieces for line in piece_rows(piece)]


@given(contents, small_sizes, small_sizes)
def test_any_size_of_units_and_blocks_gives_every_row_once(folder, content, piece, block):
    with sizes(piece, block):
        pieces = text_pieces(written(folder, content))
        assert texts(pieces) == expected_rows(content)
        assert sum(piece.size for piece in pieces) == len(content)


@given(contents, st.lists(st.integers(0, 80), max_size=5), small_sizes)
def test_any_cuts_give_every_row_once(folder, content, cuts, block):
    file = written(folder, content)
    edges = [0, *sorted(cuts), None]
    with sizes(block=block):
        assert texts(Piece(file, *ends) for ends in itertools.pairwise(edges)) == expected_rows(
            content
        )


@pytest.mark.parametrize("name", ["rows.txt", "rows.txt.gz"])
@given(contents, st.integers(0, 12), st.integers(1, 12), small_sizes)
def test_rows_are_chosen_by_number(folder, name, content, first, count, piece):
    file, rows, last = written(folder, content, name), expected_rows(content), first + count
    with sizes(piece):
        assert texts(text_pieces(file, (0, last))) == rows[:last]
        assert texts(text_pieces(file, (first, last))) == rows[first:last]
        assert texts(text_pieces(file, (last, None))) == rows[last:]


@given(contents, small_sizes)
def test_a_line_knows_where_it_is(folder, content, block):
    with sizes(block=block):
        lines = list(piece_rows(Piece(written(folder, content))))
    for line in lines:
        after = line.offset + len(line.text)
        assert content[line.offset : after] == line.text
        assert line.ended == (content[after : after + 1] in (b"\n", b"\r"))
        assert line.size == len(line.text) + line.ended


@pytest.mark.parametrize("name", ["rows.txt", "rows.txt.gz"])
def test_a_line_that_is_too_long_is_not_kept_and_the_next_is_read(folder, name):
    file = written(folder, b"one\n" + b"x" * 5000 + b"\ntwo\n", name)
    with sizes(line=100):
        one, endless, two = [line for piece in text_pieces(file) for line in piece_rows(piece)]
        assert [line.too_long for line in (one, endless, two)] == [False, True, False]
    assert (one.text, endless.size, two.text) == (b"one", 5001, b"two")
    assert 0 < len(endless.text) <= 100


def test_units_in_an_endless_line_leave_its_rest_unread(folder):
    opened = []

    @contextlib.contextmanager
    def watched(file, start=0):
        with open_input(file, start) as content:
            opened.append(content)
            yield content
            opened[-1] = content.tell()

    with sizes(piece=1000, block=100) as patch:
        pieces = text_pieces(written(folder, b"x" * 10_000))
        patch.setattr(text_rows, "open_input", watched)
        assert len(texts(pieces[:1])) == 1
        opened.clear()
        assert texts(pieces[1:]) == []
    # Each is opened twice, first for the encoding.
    ends = zip(opened[1::2], pieces[1:], strict=True)
    assert all(end <= piece.stop + 100 for end, piece in ends)


def test_lines_are_counted_through_the_pieces_of_a_file():
    pieces = [
        PieceLines("a", 100, 7),
        PieceLines("a", 0, 5),
        PieceLines("b", 0, 3),
        PieceLines("a", 200, 1),
    ]
    assert lines_before(pieces) == {("a", 0): 0, ("a", 100): 5, ("a", 200): 12, ("b", 0): 0}
    # Other rows of the same file, whose lines count from the eighth.
    others = [PieceLines("a", 400, 2, skipped=8), PieceLines("a", 300, 4, skipped=8)]
    assert lines_before([*pieces, *others]) == {
        **lines_before(pieces),
        ("a", 300): 0,
        ("a", 400): 4,
    }
