"""Label maps: what the Object Detection API writes, and texts that would take hours to search."""

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.regions import label_map
from lxmert_tf.regions.label_map import read_label_map
from tests.lxmert_tf.samples import one_line


def test_comments_quotes_and_nested_messages_are_read(tmp_path):
    path = tmp_path / "map.pbtxt"
    path.write_text(
        '# item { id: 9 name: "no" }\n'
        'item { id: 1 name: "/m/01" display_name: "a # b" keypoints { id: 2 label: "x" } }\n'
        "item: {\n  name: 'c \\'d\\' \\303\\251'\n  id: 3\n}\n"
    )
    assert read_label_map(str(path)) == ("background", "a # b", "", "c 'd' é")


@pytest.mark.parametrize(
    "text",
    [
        '"' + '\\"' * 200_000,
        '"' + '\\"' * 200_000 + "\\\n",
        "item" + " " * 400_000,
        "item {" + "a" * 400_000 + "}",
        "item {" + "a " * 200_000,
        "item {" * 60_000,
        "item { '" * 50_000,
    ],
    ids=["quotes", "open line", "spaces", "word", "words", "braces", "both"],
)
def test_no_text_takes_more_than_its_length(tmp_path, text):
    path = tmp_path / "map.pbtxt"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_label_map(str(path))
    assert len(one_line(raised)) < 300 + len(str(path))


def test_a_large_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(label_map, "_LARGEST_FILE", 1 << 20)
    path = tmp_path / "map.pbtxt"
    path.write_text("#" * (1 << 20) + "\n")
    with pytest.raises(InputError, match="more than 1 MB"):
        read_label_map(str(path))
