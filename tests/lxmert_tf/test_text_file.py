"""Text files: the same text in every form, and data that is not text."""

import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf.config_file import read_mapping
from lxmert_tf.data.answer_table import read_answer_table
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.gqa import score_gqa
from lxmert_tf.evaluation.nlvr2 import score_nlvr2
from lxmert_tf.evaluation.submissions import read_submission
from lxmert_tf.evaluation.vqa import score_vqa
from lxmert_tf.json_file import read_json
from lxmert_tf.text_file import Utf8Stream, read_lines, read_text
from tests.lxmert_tf.text_forms import ENCODINGS, FORMS, saved

# Any line, as a piece of BERT's vocabulary that Unicode counts as a line separator.
LINES = st.lists(
    st.text(st.characters(exclude_characters="\r\n\0\ufeff", exclude_categories=["Cs"])),
    min_size=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


@given(LINES, st.sampled_from(FORMS), st.booleans())
def test_any_lines_are_read_alike_from_every_form(folder, lines, form, ended):
    path = folder / "text"
    path.write_bytes(saved("\n".join(lines) + ("\n" if ended or not lines[-1] else ""), form))
    assert read_lines(path) == lines


NLVR2 = [{"identifier": f"dev-850-{n}-0", "label": "True"} for n in range(2)]
LABELS = [{"question_id": name, "label": {"café": 1.0}} for name in "12"]
ANSWERS = {"1": "café", "2": "no"}
READERS = {
    "answers": (read_answer_table, "yes\ncafé\n\u2028 odd\n"),
    "answers of JSON": (
        lambda p: read_answer_table(p.rename(p.with_suffix(".json"))),
        '["é",\n"a"]',
    ),
    "JSON": (read_json, '{"é":\n["a b"]}\n'),
    "YAML": (read_mapping, "answers: é\nlist:\n- 1\n- 2\n"),
    "VQA's predictions": (
        lambda path: read_submission("vqa", path),
        '[{"question_id": 1,\n"answer": "é"}]\n',
    ),
    "NLVR2's predictions": (
        lambda path: read_submission("nlvr2", path),
        "dev-850-0-0,True\ndev-850-1-0,False\n",
    ),
    "VQA's annotations": (lambda path: score_vqa(ANSWERS, path), json.dumps(LABELS, indent=1)),
    "GQA's annotations": (lambda path: score_gqa(ANSWERS, path), json.dumps(LABELS, indent=1)),
    "NLVR2's annotations": (
        lambda path: score_nlvr2({entry["identifier"]: "true" for entry in NLVR2}, path),
        "".join(f"{json.dumps(entry)}\n" for entry in NLVR2),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_takes_every_form(tmp_path, name):
    read, text = READERS[name]
    path = tmp_path / "file"
    path.write_bytes(text.encode())
    expected = read(path)
    for form in FORMS:
        path.write_bytes(saved(text, form))
        assert read(path) == expected, form


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"yes\r\ncaf\xe9\r\n", "line 2: not UTF-8 text (byte 8); save the file as UTF-8"),
        (b"\xef\xbb\xbfno\rcaf\xe9", "line 2: not UTF-8 text (byte 9)"),
        (b"yes\nn\0o", "line 2: not UTF-8 text (a NUL character)"),
        (b"\xff\xfea\0\n\0\x00\xdcb\0", "line 2: not UTF-16 text (byte 6)"),
        (b"\xfe\xff\0a\0", "line 1: not UTF-16 text (byte 4)"),
        (b"\x89PNG\r\n\x1a\n", "line 1: not UTF-8 text (byte 0)"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(tmp_path, data, reason):
    path = tmp_path / "answers.txt"
    path.write_bytes(data)
    with pytest.raises(InputError) as refused:
        read_text(path)
    assert str(refused.value).startswith(f"{path} {reason}")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("a\nb\nc".encode("utf-32"), "UTF-32 text; save the file as UTF-8"),
        (
            gzip.compress(b"a\nb", mtime=0),
            "compressed with gzip; decompress it, or let its name end with .gz",
        ),
        (b"PK\3\4\x14\0\0\0", "a zip archive; unpack it, or let its name end with .zip"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path, data, reason):
    path = tmp_path / "answers.txt"
    path.write_bytes(data)
    with pytest.raises(InputError) as refused:
        read_text(path)
    assert str(refused.value) == f"{path}: {reason}"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_named(tmp_path, encoding):
    path = tmp_path / "answers.txt"
    path.write_bytes("yes\nno\ncafé\n".encode(encoding))
    with pytest.raises(
        InputError, match="looks like UTF-16 without a byte order mark; save the file"
    ):
        read_text(path)


class Slow(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, most: int):
        super().__init__(data)
        self._most = most

    def read1(self, size=-1):
        return super().read1(min(size, self._most))


@given(
    st.text(st.characters(exclude_characters="\ufeff", exclude_categories=["Cs"])),
    st.sampled_from(list(ENCODINGS)),
    st.integers(1, 7),
)
def test_a_stream_of_any_encoding_is_utf8_in_any_blocks(text, encoding, most):
    stream = Utf8Stream(Slow(ENCODINGS[encoding](text), most))
    blocks = iter(lambda: stream.read1(5), b"")
    assert b"".join(blocks).decode("utf-8-sig") == text
    assert stream.read1(5) == b""


@pytest.mark.parametrize("rest", [b"x", b"\x3d\xd8", b"\x3d\xd8x"])
def test_a_stream_that_is_cut_in_a_character_ends_in_an_invalid_byte(rest):
    stream = Utf8Stream(io.BytesIO(b"\xff\xfea\0" + rest))
    assert stream.read1(99) == b"a"
    assert stream.read1(99) == b"\xff"
    assert stream.read1(99) == b""
