"""JSON as a stream: the same values as a parser of whole texts, and all before a break."""

import contextlib
import gzip
import io
import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from pipeline.ingest.files import InputFile, find_inputs
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.parsers import json_items
from pipeline.ingest.parsers.json_items import (
    DuplicateKey,
    Item,
    read_json_lines,
    read_list,
    read_member,
    read_object,
    starts_with_list,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def file_of(tmp_path):
    def make(data: bytes | str, name: str = "items.json") -> InputFile:
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return find_inputs([str(path)])[0]

    return make


@contextlib.contextmanager
def from_memory(monkeypatch, data: bytes, chunk: int):
    """Reads `data` for any file, so many bytes at a time."""

    class Stream(io.BytesIO):
        def read1(self, size=-1):
            return super().read1(min(size, chunk))

    @contextlib.contextmanager
    def opened(file):
        yield Stream(data)

    with monkeypatch.context() as patch:
        patch.setattr(json_items, "open_input", opened)
        patch.setattr(json_items, "_CHUNK", chunk)
        yield InputFile("memory", len(data))


def values(items) -> list:
    return [item.value for item in items if not isinstance(item, ReadError)]


@settings(derandomize=True, max_examples=60)
@given(st.lists(VALUES, max_size=5), st.integers(1, 40), st.booleans(), st.booleans())
def test_any_list_in_any_chunks(content, chunk, ascii_only, indented):
    text = json.dumps(content, ensure_ascii=ascii_only, indent=2 if indented else None)
    data = text.encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as monkeypatch:
        with from_memory(monkeypatch, data, chunk) as file:
            assert values(read_list(file)) == content


@settings(derandomize=True, max_examples=60)
@given(st.dictionaries(st.text("abc"), VALUES, max_size=5), st.integers(1, 40))
def test_any_object_in_any_chunks(content, chunk):
    with pytest.MonkeyPatch.context() as monkeypatch:
        with from_memory(monkeypatch, json.dumps(content).encode(), chunk) as file:
            assert {item.key: item.value for item in read_object(file)} == content


@pytest.mark.parametrize("number", ["1e-7", "-12.25", "1.5E+10", "1234567", "-0", "NaN"])
def test_numbers_that_the_window_cuts(monkeypatch, number):
    with from_memory(monkeypatch, f"[{number},{number}]".encode(), 1) as file:
        assert list(map(repr, values(read_list(file)))) == [repr(json.loads(number))] * 2


def test_items_have_their_number(file_of):
    items = list(read_list(file_of("[7, 8]")))
    assert items == [(1, "", 7), (2, "", 8)]


def test_a_byte_order_mark_is_accepted(file_of):
    assert values(read_list(file_of(b"\xef\xbb\xbf[1]"))) == [1]


def test_a_list_under_a_key_wherever_it_is(file_of):
    file = file_of('{"a": [[1], {"items": [9]}], "items": [1, 2], "b": {"items": [3]}}')
    assert values(read_list(file, "items")) == [1, 2]


def test_a_member(file_of):
    file = file_of('{"long": [1, 2, 3], "name": "val2014", "rest": [')
    assert read_member(file, "name") == "val2014"
    assert read_member(file, "other") is None
    with pytest.raises(InputError, match="holds no JSON object"):
        read_member(file_of("val2014"), "name")


def test_a_file_that_is_damaged_before_its_content_is_refused(file_of):
    file = file_of(gzip.compress(b'{"a": 1}')[:12], "items.json.gz")
    for of_file in (
        lambda: starts_with_list(file),
        lambda: read_member(file, "a"),
        lambda: list(read_list(file)),
        lambda: list(read_list(file, "a")),
        lambda: list(read_object(file)),
    ):
        with pytest.raises(InputError) as caught:
            of_file()
        assert str(caught.value) == f"{file.name}: damaged or cut short"


@pytest.mark.parametrize(
    ("broken", "intact"),
    [
        (b'"\xff"', '"\udcff"'),
        (b'"\\ud800"', '"\ud800"'),
        (b'"\0\n"', '"\0\n"'),
        (b"NaN", None),
        (b"9" * 5000, None),
        (b"1e999", None),
    ],
)
def test_an_error_inside_an_item_does_not_spread(file_of, broken, intact):
    items = values(read_list(file_of(b'[1, {"a": ' + broken + b"}, 2]")))
    assert items[0] == 1 and items[2] == 2
    if intact is not None:
        assert items[1] == {"a": json.loads(intact, strict=False)}


def test_an_object_with_a_key_twice(file_of):
    [item] = values(read_list(file_of('[{"a": 1, "a": 2}]')))
    assert isinstance(item, DuplicateKey)


@pytest.mark.parametrize(
    "text", ["[1, 2", "[1, 2,", "[1, 2, x]", "[1, 2] 3", "[1, 2}", "[1, 2 3]", "[1, 2, tru"]
)
def test_a_broken_list_ends_in_one_problem(file_of, text):
    items = list(read_list(file_of(text)))
    assert values(items) == [1, 2]
    assert items[2:] == [ReadError(3, "", "the file is cut short, or no JSON from here on")]


@pytest.mark.parametrize("text", ['{"a": 1', '{"a": 1, b', '{"a": 1, 2: 3}', '{"a": 1}}'])
def test_a_broken_object_ends_in_one_problem(file_of, text):
    items = list(read_object(file_of(text)))
    assert [item.value for item in items[:-1]] == [1]
    assert isinstance(items[-1], ReadError)


def test_depth_without_end_is_a_problem(file_of):
    [first, problem] = read_list(file_of("[1, " + "[" * 100_000))
    assert first.value == 1
    assert "too deeply" in problem.reason


def test_an_item_without_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(json_items, "LONGEST", 100)
    with from_memory(monkeypatch, b'[1, "' + b"x" * 10_000 + b'"]', 16) as file:
        items = list(read_list(file))
    assert values(items) == [1]
    assert "more than 16 million characters" in items[1].reason


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", read_list),
        ("{}", read_list),
        ("name,answer\n", read_list),
        ("[]", read_object),
        ("[]", lambda file: read_list(file, "items")),
        ('{"other": []}', lambda file: read_list(file, "items")),
        ('{"items": {}}', lambda file: read_list(file, "items")),
    ],
)
def test_a_file_of_another_format(file_of, text, read):
    file = file_of(text)
    with pytest.raises(InputError, match=r"items\.json: "):
        list(read(file))


@pytest.mark.parametrize("read", [read_list, read_object, read_json_lines, starts_with_list])
def test_an_empty_file_and_utf16_without_a_mark_are_named(file_of, read):
    for text in ("", " \n"):
        with pytest.raises(InputError, match=r"items\.json: the file is empty$"):
            list(read(file_of(text)))
    for encoding in ("utf-16-le", "utf-16-be"):
        for text in ('[{"a": 1}]', '\n{"a": 1}\n'):
            with pytest.raises(InputError, match=r"items\.json: looks like UTF-16 without a byte"):
                list(read(file_of(text.encode(encoding))))


def test_a_damaged_archive_gives_the_items_before(file_of):
    words = [str(number) for number in range(100_000)]
    data = gzip.compress(json.dumps(words).encode())
    items = list(read_list(file_of(data[: len(data) // 2], "cut.json.gz")))
    assert values(items) == words[: len(items) - 1]
    assert len(items) > 30_000
    assert items[-1].reason == "the compressed file is damaged or cut short from here on"


def test_a_wrong_checksum_is_reported(file_of):
    data = bytearray(gzip.compress(b"[1, 2]"))
    data[-5] ^= 1
    *items, problem = read_list(file_of(bytes(data), "items.json.gz"))
    assert values(items) == [1, 2]
    assert problem.reason == "the compressed file is damaged or cut short from here on"


def test_compressed_files(tmp_path, file_of):
    assert values(read_list(file_of(gzip.compress(b"[1, 2]"), "items.json.gz"))) == [1, 2]
    with zipfile.ZipFile(tmp_path / "items.zip", "w") as archive:
        archive.writestr("folder/items.json", "[1, 2]")
    [file] = find_inputs([str(tmp_path / "items.zip")])
    assert values(read_list(file)) == [1, 2]


# JSON lines: each line for itself.


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
    monkeypatch.setattr(json_items, "LONGEST", 100)
    before, problem, after = lines(b'1\n"' + b"x" * 1000 + b'"\n2\n')
    assert (before.value, after.value) == (1, 2)
    assert problem == ReadError(2, "", "the line is too long to be an item")


def test_a_list_is_refused(lines):
    with pytest.raises(InputError, match=r"lines\.jsonl: holds a JSON list"):
        lines(b'[{"a": 1}]')


def test_a_damaged_archive_gives_the_lines_before(lines):
    data = gzip.compress("".join(f"{json.dumps(n)}\n" for n in range(100_000)).encode())
    *items, problem = lines(data[: len(data) // 2], "cut.jsonl.gz")
    assert [item.value for item in items] == list(range(len(items)))
    assert len(items) > 30_000
    assert problem.reason == "the compressed file is damaged or cut short from here on"
