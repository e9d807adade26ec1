"""The formats that `lxmert extract` writes, read as their users read them."""

import base64
import csv
import sys

import numpy as np
import pytest

from lxmert_tf.data.scene import SceneImage
from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import Regions
from pipeline.extract.formats import FORMATS, Totals, boxes_in_pixels, check_files
from pipeline.extract.job import format_of
from pipeline.ingest.readers.region_tsv import LxmertTsv
from tests.pipeline.ingest.reading import read_all

TOTALS = Totals(images=1, most_regions=3, feature_size=4)


def image(image_id="a", count=3, labels=True, seed=0) -> SceneImage:
    random = np.random.default_rng(seed)
    corners = np.sort(random.uniform(0, 1, [count, 2, 2]), axis=1).reshape(count, 4)
    boxes = (corners * [64, 48, 64, 48]).astype(np.float32) / np.float32([64, 48, 64, 48])
    ids, confidences = random.integers(0, 9, count), random.uniform(0, 1, count).astype(np.float32)
    regions = Regions(
        random.uniform(0, 3, [count, 4]).astype(np.float32),
        boxes,
        *((ids, confidences, ids, confidences) if labels else ()),
    )
    return SceneImage(image_id, 48, 64, regions)


def write(folder, name, *images):
    path = folder / ("out" + (FORMATS[name].endings or ("",))[0])
    if not FORMATS[name].endings:
        path.mkdir()
    FORMATS[name].write(path, images, TOTALS._replace(images=len(images)))
    return path


def test_boxes_that_were_pixels_are_the_same_after_division():
    random = np.random.default_rng(0)
    for _ in range(200):
        height, width = random.integers(1, 2000, 2)
        size = np.array([width, height, width, height], np.float32)
        boxes = (random.uniform(0, 1, [50, 4]) * size).astype(np.float32) / size
        regions = Regions(np.zeros([50, 1], np.float32), boxes)
        pixels = boxes_in_pixels(SceneImage("a", int(height), int(width), regions))
        assert pixels.dtype == np.float32
        np.testing.assert_array_equal(pixels / size, boxes)


def test_the_release_reads_the_rows(tmp_path):
    # Its `load_obj_tsv`, which has the size of the largest field as csv's limit.
    path = write(tmp_path, "lxmert_tsv", image("a"), image('say "x"', count=2))
    csv.field_size_limit(sys.maxsize)
    with path.open() as file:
        rows = list(csv.DictReader(file, LxmertTsv.columns, delimiter="\t"))
    assert [row["img_id"] for row in rows] == ["a", 'say "x"']
    assert [(int(row["img_h"]), int(row["img_w"])) for row in rows] == [(48, 64)] * 2
    assert [int(row["num_boxes"]) for row in rows] == [3, 2]
    expected = image("a").regions
    for key, dtype, values in (
        ("objects_id", np.int64, expected.object_ids),
        ("objects_conf", np.float32, expected.object_confidences),
        ("boxes", np.float32, boxes_in_pixels(image("a"))),
        ("features", np.float32, expected.features),
    ):
        found = np.frombuffer(base64.b64decode(rows[0][key]), dtype).reshape(values.shape)
        np.testing.assert_array_equal(found, values)
    assert [read.id for read in read_all(LxmertTsv(), path)] == ["a", 'say "x"']


def test_a_format_refuses_only_ids_that_it_cannot_hold():
    for name, form in FORMATS.items():
        assert form.refusal("a") is form.refusal("a/..b") is None
        assert bool(form.refusal("a\tb")) == name.endswith("_tsv")
        for image_id in (".", "..", "a/..", "/"):
            assert bool(form.refusal(image_id)) == (not form.endings)


def test_regions_without_labels_have_unknown_ones_in_the_releases_rows(tmp_path):
    path = write(tmp_path, "lxmert_tsv", image(labels=False))
    [read] = read_all(LxmertTsv(), path)
    assert (read.regions.object_ids == -1).all()
    assert not read.regions.attribute_confidences.any()


@pytest.mark.parametrize("name", ["bottom_up_npz", "openvqa_npz"])
def test_vqa_models_read_the_npz_files(tmp_path, name):
    folder = write(tmp_path, name, image("train/a"))
    # Without unpickling anything.
    arrays = np.load(folder / "train" / "a.npz")
    # As OpenVQA's `proc_img_feat` and MCAN's data loader do.
    features = arrays["x"].transpose((1, 0)) if name == "openvqa_npz" else arrays["x"]
    np.testing.assert_array_equal(features, image().regions.features)
    np.testing.assert_array_equal(arrays["bbox"], boxes_in_pixels(image()))
    assert (arrays["num_bbox"], arrays["image_h"], arrays["image_w"]) == (3, 48, 64)


@pytest.mark.parametrize("labels", [True, False])
def test_uniter_reads_the_npz_files(tmp_path, labels):
    folder = write(tmp_path, "uniter_npz", image(labels=labels))
    # As `load_npz` of its convert_imgdir.py does.
    arrays = dict(np.load(folder / "a.npz", allow_pickle=False))
    assert all(array.ndim in (1, 2) for array in arrays.values())
    expected = image(labels=labels).regions
    order = np.argsort(-expected.object_confidences) if labels else np.arange(3)
    boxes = expected.boxes[order]
    np.testing.assert_array_equal(arrays["features"], expected.features[order])
    np.testing.assert_array_equal(arrays["norm_bb"][:, :4], boxes)
    np.testing.assert_array_equal(arrays["norm_bb"][:, 4:], boxes[:, 2:] - boxes[:, :2])
    assert arrays["norm_bb"].dtype == arrays["features"].dtype == np.float32
    confidences = expected.object_confidences[order] if labels else np.ones(3)
    np.testing.assert_array_equal(arrays["conf"], confidences)


def test_vilbert_reads_the_npy_files(tmp_path):
    folder = write(tmp_path, "vilbert_npy", image())
    # As its convert_to_lmdb.py does.
    item = np.load(folder / "a.npy", allow_pickle=True).item()
    assert item.get("image_id") == "a"
    assert [item.get(f"image_{side}") for side in ("height", "width")] == [48, 64]
    assert item.get("num_boxes") == 3
    np.testing.assert_array_equal(item.get("bbox"), boxes_in_pixels(image()))
    np.testing.assert_array_equal(item.get("features"), image().regions.features)


def test_two_pictures_are_never_written_to_one_file():
    pictures = {"./q/a": "./q/a.png", "/q/a": "/q/a.png"}
    message = r"/q/a\.png and \./q/a\.png would be written to one file, q/a"
    with pytest.raises(InputError, match=message):
        check_files(FORMATS["bottom_up_npz"], pictures)
    check_files(FORMATS["lxmert_tsv"], pictures)


@pytest.mark.parametrize(
    ("output", "name", "expected"),
    [
        ("a.tsv", None, "lxmert_tsv"),
        ("a.tsv", "bottom_up_tsv", "bottom_up_tsv"),
        ("a.H5", None, "gqa_hdf5"),
        ("folder/v1.0", None, "bottom_up_npz"),
        ("folder", "vilbert_npy", "vilbert_npy"),
    ],
)
def test_the_ending_tells_the_format(output, name, expected):
    assert format_of(output, name) == expected


@pytest.mark.parametrize(
    ("output", "name", "message"),
    [
        ("a.npz", None, r"a\.npz: must end in \.tsv or \.h5, or be a folder"),
        ("a", "lxmert_tsv", r"a: must end in \.tsv for lxmert_tsv"),
        ("a.tsv", "gqa_hdf5", r"must end in \.h5 or \.hdf5"),
        ("a.tsv", "uniter_npz", "must be a folder"),
        ("a", "npz", "unknown format 'npz'; it must be one of lxmert_tsv, "),
    ],
)
def test_an_ending_of_another_format_is_refused(output, name, message):
    with pytest.raises(InputError, match=message):
        format_of(output, name)
