"""Names of images: those of one image are matched, others are not, and no match is a guess."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from pipeline.ingest.config import IngestConfig, PartConfig, RegionFiles, SentenceFiles, SplitConfig
from pipeline.ingest.image_names import (
    IdRegex,
    OtherImages,
    distinct_ids,
    distinct_labels,
    image_key,
    match_names,
    name_of_file,
    parse_name,
)
from pipeline.ingest.inputs import hash_percent

VAL, TRAIN = "COCO_val2014_000000000009", "COCO_train2014_000000000009"


def matched(name: str, *images: str, **options) -> str | None:
    """The image of a name; "?" if it is ambiguous."""
    matches = match_names([name], {image: image for image in images}, **options)
    return "?" if name in matches.ambiguous else matches.ids.get(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kitchen-1", "kitchen-1.png"),
        ("kitchen-1.JPEG", "kitchen-1.jpg"),
        ("photos/train/1.png", "train/1"),
        ("./photos/1.png", "photos/1"),
        ("photos\\1.png", "photos/1"),
        ("/data/photos.zip!photos/img0.png", "photos/img0"),
        ("262148", "COCO_val2014_000000262148"),
        ("262148", "000000262148"),
        ("000000262148.jpg", "COCO_val2014_000000262148"),
        ("val2014/COCO_val2014_000000262148.jpg", "262148"),
        ("11779", "abstract_v002_train2015_000000011779.png"),
        ("http://images.cocodataset.org/val2017/000000000009.jpg", "9"),
        ("0", "000000000000"),
    ],
)
def test_names_of_one_image(one, other):
    assert image_key(one) == image_key(other)
    assert hash_percent(one) == hash_percent(other)
    assert matched(one, other) == other
    assert matched(other, one) == one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("train/1", "val/1"),
        ("a/b/1", "b/b/1"),
        ("kitchen-1.png", "kitchen-1.gif"),
        (VAL, TRAIN),
        ("7", "007"),
        ("n7", "7"),
        ("Kitchen", "kitchen"),
        ("v1.2", "v1"),
        ("", "a"),
    ],
)
def test_names_of_two_images(one, other):
    assert matched(one, other) is None
    assert matched(other, one) is None


def test_an_ambiguous_name_is_no_match():
    assert matched("1", "train/1", "val/1") == "?"
    assert matched("train/1", "train/1", "val/1") == "train/1"
    assert matched("photos/val/1.png", "train/1", "val/1") == "val/1"
    assert matched("9", VAL, TRAIN) == "?"
    assert matched("a", "a.png", "a.jpg") == "?"
    # One image cannot be two.
    names = ["train/1", "val/1", "1"]
    assert match_names(names, {"1": "1"}).ids == {"1": "1"}
    assert match_names(names, {"1": "1"}).ambiguous == {"train/1", "val/1"}
    assert match_names([VAL, TRAIN], {"9": "9"}).ids == {}


def test_equal_numbers_of_visual_genome_and_coco_are_not_one_image():
    found = match_names([VAL, "9"], {"9": "9"})
    assert (found.ids, found.ambiguous) == ({"9": "9"}, {VAL})
    assert match_names([VAL], {"9": "9"}).by_number == {"9"}
    assert match_names(["9.jpg"], {"9": "9"}).by_number == set()
    assert matched(VAL, "9", use_numbers=False) is None
    assert matched("9.jpg", "9", use_numbers=False) == "9"


def test_the_folders_of_a_picture_are_compared():
    images = {"1": "/data/photos/val/1.png"}
    assert match_names(["1", "val/1", "photos/val/1.png"], images).ids == {
        "1": "1",
        "val/1": "1",
        "photos/val/1.png": "1",
    }
    assert match_names(["train/1"], images).ids == {}


@given(st.lists(st.text(st.sampled_from("ab1/.jpg"), max_size=8), max_size=5), st.data())
def test_a_name_that_is_an_id_is_never_ambiguous(names, data):
    images = {name: name for name in data.draw(st.lists(st.sampled_from([*names, "b/1"])))}
    found = match_names(names, images)
    assert not set(found.ids) & found.ambiguous
    assert all(found.ids[name] == name for name in names if name in images)
    assert set(found.ids.values()) <= set(images)
    assert all(image_key(name) == image_key(image) for name, image in found.ids.items())


def test_files_with_the_same_name_get_ids_with_folders_or_endings():
    files = ["p/train/1.png", "p/val/1.png", "p/val/2.png", "q/a.jpg", "q/a.png", "r/val/3.png"]
    assert list(distinct_ids(files).values()) == ["train/1", "val/1", "2", "a.jpg", "a.png", "3"]
    assert distinct_ids(["x/v/1.png", "y/v/1.png"]) == {
        "x/v/1.png": "x/v/1",
        "y/v/1.png": "y/v/1",
    }
    assert distinct_ids(["1.png", "v/1.png"]) == {"1.png": "1", "v/1.png": "v/1"}
    # The endings are spelled in several ways.
    for files in (["p/a.jpg", "p/a.jpeg"], ["x.jpg", "x.JPG"], ["p/a", "./p/a"]):
        assert distinct_ids(files) == {name: name for name in files}


ENDINGS = ["", ".jpg", ".JPG", ".jpeg", ".tif", ".tiff", ".jpg.png"]


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.text("aA/.\\", max_size=4), st.sampled_from(ENDINGS)).map("".join),
        unique=True,
        max_size=6,
    )
)
def test_no_two_files_have_one_id(files):
    ids = distinct_ids(files)
    assert set(ids) == set(files)
    assert len(set(ids.values())) == len(files)


def test_annotation_files_have_distinct_labels():
    assert distinct_labels(["a/q.json", "b/r.jsonl.gz"]) == {"a/q.json": "q", "b/r.jsonl.gz": "r"}
    assert distinct_labels(["a/q.json", "a/q.jsonl", "a/r.json"]) == {
        "a/q.json": "q.json",
        "a/q.jsonl": "q.jsonl",
        "a/r.json": "r",
    }
    assert distinct_labels(["a/q.json", "b/q.json"]) == {"a/q.json": "a/q", "b/q.json": "b/q"}
    files = ["q.json", "q.jsonl", "q.json.json", "q.json.gz"]
    assert len(set(distinct_labels(files).values())) == len(files)
    # Labels become parts of ids, which are UTF-8.
    assert distinct_labels(["q\udcff.json"]) == {"q\udcff.json": r"q\udcff"}


def test_a_name_that_is_only_an_ending_is_a_name():
    parsed = parse_name("photos/.jpg")
    assert (parsed.stem, parsed.ending) == (".jpg", "")
    assert parse_name(".jpg.png")[:3] == (".jpg", (), "png")
    assert distinct_ids(["photos/.jpg", "photos/.png"]) == {
        "photos/.jpg": ".jpg",
        "photos/.png": ".png",
    }


def test_a_file_is_named_without_the_ending_of_its_regions():
    names = ["a/b.jpg.npz", "a/b.npy.gz", "a.zip!b.png", "a/b.v2"]
    assert [*map(name_of_file, names)] == ["a/b.jpg", "a/b", "a.zip!b.png", "a/b"]


def test_a_regular_expression_selects_the_id():
    select = pickle.loads(pickle.dumps(IdRegex(r"(train|val)?/?frame_0*(\d+)")))
    assert select("data/train/frame_0012.png") == "train/12"
    assert select("frame_12") == "12"
    assert select("other") == "other"
    assert IdRegex(None)("a") == "a" and not IdRegex(None)


@pytest.mark.parametrize(("regex", "reason"), [("(", "is invalid"), ("frame", "needs a group")])
def test_an_invalid_regular_expression_is_rejected(regex, reason):
    part = PartConfig((RegionFiles(("a",)),), (SentenceFiles(("b",), "json_lines"),))
    with pytest.raises(InputError, match=reason):
        IngestConfig(records=SplitConfig("all"), parts={"all": part}, image_id_regex=regex)


def test_a_name_inside_and_outside_is_neither_left_out_nor_taken():
    # As a regular expression makes them of `x/1.png` and `y/1.png`.
    others = OtherImages(["1", "2"], ["1", "3"])
    assert [others.has(name) for name in "1234"] == [False, False, True, False]
    assert [others.may_have(name) for name in "1234"] == [True, False, False, False]
