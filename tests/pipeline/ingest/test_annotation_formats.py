"""What all annotation formats share: a fault is alone, nothing is lost, nothing raises."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from pipeline.ingest.interfaces import ReadSentence
from tests.pipeline.ingest.annotations import (
    FORMATS,
    content_of,
    encode,
    problems,
    read,
    read_content,
    sentences,
    write,
)
from tests.pipeline.ingest.test_json_items import VALUES

REQUIRED = [(name, key) for name, (*_, keys) in FORMATS.items() for key in keys]
# Sentences of one item: four hang on one id in the pre-training file, and NLVR has six images.
PER_ITEM = {"pretraining": 4, "nlvr": 6}


def items_of(name: str, content):
    for key in FORMATS[name][2]:
        content = content[key]
    return content


def keys_of(items) -> list:
    return list(items) if isinstance(items, dict) else list(range(len(items)))


def around_the_middle(name: str) -> list[ReadSentence]:
    """What is to be read if the second of the three items is broken."""
    per_item = PER_ITEM.get(name, 1)
    return INTACT[name][:per_item] + INTACT[name][2 * per_item :]


@pytest.fixture(scope="module", autouse=True)
def _intact(tmp_path_factory):
    for name in FORMATS:
        folder = tmp_path_factory.mktemp(name)
        INTACT[name] = read_content(name, folder, content_of(name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for files that are overwritten many times."""
    return tmp_path_factory.mktemp("any")


INTACT: dict[str, list[ReadSentence]] = {}


@pytest.mark.parametrize("name", FORMATS)
def test_all_of_the_sample_is_read(name):
    assert len(INTACT[name]) == 3 * PER_ITEM.get(name, 1)
    assert problems(INTACT[name]) == []
    per_scene = {len(item.image_ids) for item in INTACT[name]}
    assert per_scene == {FORMATS[name][0].images_per_scene}
    assert len({item.sentence.id for item in INTACT[name]}) == len(INTACT[name])


def test_formats_have_the_names_that_configs_use():
    assert all(reader.name == name for name, (reader, *_) in FORMATS.items())


@pytest.mark.parametrize(("name", "key"), REQUIRED)
@pytest.mark.parametrize("fault", ["missing", "null", "true", "1.5", "[]", "text", "twice"])
def test_the_neighbors_of_a_fault_are_read(tmp_path, name, key, fault):
    content = content_of(name)
    items = items_of(name, content)
    middle = items[keys_of(items)[1]]
    if fault == "missing":
        del middle[key]
    elif fault not in ("text", "twice"):
        middle[key] = json.loads(fault)
    else:
        middle[key] = ""
    data = encode(name, content)
    if fault == "twice":
        data = data.replace(f'"{key}": ""'.encode(), f'"{key}": 1, "{key}": 2'.encode())
    items = read(FORMATS[name][0](), write(name, tmp_path, data))
    assert sentences(items) == around_the_middle(name)
    [(line, _, reason)] = problems(items)
    assert line == 2
    assert reason.startswith(key) or (fault == "twice" and reason == "the item has a key twice")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("item", [None, 1, "text", [], {}])
def test_an_item_that_is_none(tmp_path, name, item):
    content = content_of(name)
    items = items_of(name, content)
    items[keys_of(items)[1]] = item
    items = read_content(name, tmp_path, content)
    assert sentences(items) == around_the_middle(name)
    [(line, _, reason)] = problems(items)
    assert line == 2
    assert "is missing" in reason if item == {} else reason == "the item must be an object"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"  \\n", "is empty"),
        (b"a \xff b", "is not Unicode: bytes that are not UTF-8, or half of a surrogate pair"),
        (b"a \\ud83d b", "is not Unicode: bytes that are not UTF-8, or half of a surrogate pair"),
        (b"a\\u0000b", "has a NUL character in it"),
        (b"a\0b", "has a NUL character in it"),
    ],
)
def test_words_that_are_none(tmp_path, name, broken, reason):
    content = content_of(name)
    items = items_of(name, content)
    middle = items[keys_of(items)[1]]
    key = "sentf" if name == "pretraining" else FORMATS[name][3][-1]
    key = {"nlvr": "sentence", "nlvr2_official": "sentence", "gqa_official": "question"}.get(
        name, key
    )
    middle[key] = {"mscoco": ["fine", "BROKEN"]} if name == "pretraining" else "BROKEN"
    middle.pop("labelf", None)
    data = encode(name, content).replace(b"BROKEN", broken)
    items = read(FORMATS[name][0](), write(name, tmp_path, data))
    assert [said for said in sentences(items) if said.sentence.text != "fine"] == (
        around_the_middle(name)
    )
    assert [(line, text) for line, _, text in problems(items)] == [(2, f"{key} {reason}")]


@pytest.mark.parametrize("name", FORMATS)
def test_control_characters_in_a_sentence_stay_for_the_tokenizer(tmp_path, name):
    data = encode(name, content_of(name)).replace(b"A ", b"A\\u0007 ").replace(b"s the", b"s\\tthe")
    items = read(FORMATS[name][0](), write(name, tmp_path, data))
    assert len(items) == len(INTACT[name])
    assert problems(items) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_anywhere_gives_the_items_before(tmp_path, name):
    reader, data = FORMATS[name][0](), encode(name, content_of(name))
    counts = []
    # About 400 places, which hit all kinds of tokens.
    for length in (*range(0, len(data), 1 + len(data) // 400), len(data) - 1):
        path = write(name, tmp_path, data[:length])
        try:
            items = read(reader, path)
        except InputError:
            # Nothing of the format is there yet.
            assert length <= data.find(b"questions" if name == "vqa_official" else b"{") + 1
            continue
        found = sentences(items)
        assert found == INTACT[name][: len(found)]
        assert len(problems(items)) <= 1
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] == len(INTACT[name])


def places_in(value, at=()) -> list[tuple]:
    """The way to each value inside a value."""
    if not isinstance(value, (dict, list)):
        return [at]
    keys = value if isinstance(value, dict) else range(len(value))
    return [at, *(place for key in keys for place in places_in(value[key], (*at, key)))]


def with_value(content, place: tuple, value):
    content = copy.deepcopy(content)
    if not place:
        return value
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


@pytest.mark.parametrize("name", FORMATS)
@settings(derandomize=True, max_examples=80)
@given(data=st.data())
def test_any_value_at_any_place(folder, name, data):
    content = FORMATS[name][1]
    place = data.draw(st.sampled_from(places_in(content)))
    changed = with_value(content, place, data.draw(VALUES))
    whole_items = len(place) > len(FORMATS[name][2])
    try:
        items = read_content(name, folder, changed)
    except InputError as error:
        # The file has another form; never the fault of one item.
        # A list as the first of the lines looks like a file that is one list.
        looks_like_a_list = "holds a JSON list" in str(error) and place == (0,)
        in_images = name == "coco_captions" and place[:1] == ("images",)
        assert not whole_items or looks_like_a_list or in_images
        assert "\n" not in str(error)
        return
    if whole_items and name not in PER_ITEM:
        assert len(items) == len(keys_of(items_of(name, changed)))
    for item in sentences(items):
        assert item.sentence.text.strip()
        assert all(0 <= score <= 1 for _, score in item.sentence.answers)
        item.sentence.text.encode()
    for _, item_id, reason in problems(items):
        (item_id + reason).encode()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", b"id,question\n1,what?\n", b"\0" * 9])
def test_a_file_of_another_kind_gives_no_sentence(tmp_path, name, data):
    path = write(name, tmp_path, data)
    try:
        items = read(FORMATS[name][0](), path)
    except InputError as error:
        assert str(path) in str(error)
        return
    assert sentences(items) == []
    assert len(items) == data.count(b"\n") or data == b"" or len(items) == 1
