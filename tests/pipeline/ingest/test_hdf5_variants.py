"""HDF5 of bottom-up attention and of VL-T5, and which HDF5 a file is."""

import os
import pickle

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from pipeline.ingest import interfaces
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.readers import bottom_up_hdf5
from pipeline.ingest.readers.bottom_up_hdf5 import BottomUpHdf5
from pipeline.ingest.readers.grouped_hdf5 import GroupedHdf5
from pipeline.ingest.registry import detect_format
from tests.pipeline.ingest import test_gqa_hdf5
from tests.pipeline.ingest.detections import real, small
from tests.pipeline.ingest.reading import input_file, read_all, reasons

IMAGES = [small(str(number), count=3) for number in (262148, 9, 25)]


def spatial(image) -> np.ndarray:
    scaled = image.boxes / np.array([image.width, image.height] * 2, np.float32)
    return np.concatenate([scaled, scaled[:, 2:] - scaled[:, :2]], axis=1)


def write_bottom_up(folder, images, adaptive=False, protocol=0, edit=None):
    """What the converters of bottom-up-attention-vqa (protocol 0 of Python 2) and ban-vqa write."""
    join = np.concatenate if adaptive else np.stack
    path = folder / "train36.hdf5"
    with h5py.File(path, "w") as file:
        file["image_features"] = join([image.features for image in images])
        file["image_bb"] = join([image.boxes for image in images])
        file["spatial_features"] = join([spatial(image) for image in images])
        if adaptive:
            ends = np.cumsum([len(image.boxes) for image in images])
            starts = [0, *ends[:-1]]
            file["pos_boxes"] = np.stack([starts, ends], axis=1).astype(np.int32)
        if edit:
            edit(file)
    rows = {int(image.image_id): row for row, image in enumerate(images)}
    (folder / "train36_imgid2idx.pkl").write_bytes(pickle.dumps(rows, protocol))
    return path


def write_groups(folder, images, labels=True):
    """What VL-T5's feature_extraction writes."""
    path = folder / "val2014_obj36.h5"
    with h5py.File(path, "w") as file:
        for image in images:
            group = file.create_group(image.image_id)
            group["features"], group["boxes"] = image.features, image.boxes
            group["img_h"], group["img_w"] = image.height, image.width
            if labels:
                group["obj_id"], group["obj_conf"] = image.object_ids, image.object_confidences
                group["attr_id"] = image.attribute_ids
                group["attr_conf"] = image.attribute_confidences
    return path


def check(images, read, labels=False):
    for image, item in zip(images, read, strict=True):
        image.check(item, object_labels=labels, attribute_labels=labels)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_bottom_up_with_one_number_of_regions(tmp_path, protocol):
    path = write_bottom_up(tmp_path, IMAGES, protocol=protocol)
    assert detect_format(input_file(path)) == "bottom_up_hdf5"
    check(IMAGES, read_all(BottomUpHdf5(), path))
    check(IMAGES[1:2], read_all(BottomUpHdf5(), path, rows=(1, 2)))


def test_bottom_up_with_any_number_of_regions(tmp_path, monkeypatch):
    images = [small(str(number), count=number) for number in (3, 1, 36)]
    path = write_bottom_up(tmp_path, images, adaptive=True)
    assert detect_format(input_file(path)) == "bottom_up_hdf5"
    check(images, read_all(BottomUpHdf5(), path))
    monkeypatch.setattr(interfaces, "PIECE_BYTES", 1)
    assert len(BottomUpHdf5().pieces(input_file(path))) == 3
    check(images, read_all(BottomUpHdf5(), path))


def test_numbers_of_every_type_are_read(tmp_path):
    def edit(file):
        for name in ("features", "boxes") if "9" in file else ("image_features", "image_bb"):
            for group in file.values() if "9" in file else [file]:
                values = group[name][()].astype(np.int64)
                del group[name]
                group[name] = values

    paths = {
        BottomUpHdf5: write_bottom_up(tmp_path, IMAGES, edit=edit),
        GroupedHdf5: write_groups(tmp_path, IMAGES[1:2]),
    }
    with h5py.File(paths[GroupedHdf5], "a") as file:
        edit(file)
    image = IMAGES[1]
    boxes = image.boxes.astype(np.int64) / np.array([64, 48, 64, 48], np.float32)
    for reader, path in paths.items():
        [read] = [item for item in read_all(reader(), path) if item.id == image.image_id]
        np.testing.assert_array_equal(read.regions.features, image.features.astype(np.int64))
        assert np.abs(read.regions.boxes - boxes).max() < 0.05  # sizes follow from the boxes


def test_an_invalid_image_does_not_affect_its_neighbors(tmp_path):
    def edit(file):
        file["pos_boxes"][0] = [5, 4]
        file["spatial_features"][3:6] = 0

    path = write_bottom_up(tmp_path, IMAGES, adaptive=True, edit=edit)
    first, second, third = read_all(BottomUpHdf5(), path)
    assert (first.id, first.reason) == ("262148", "pos_boxes are not regions of the file")
    assert (second.id, second.line) == ("9", 2)
    assert second.reason == "image_bb and spatial_features do not tell the image's size"
    IMAGES[2].check(third, object_labels=False, attribute_labels=False)
    (tmp_path / "train36_imgid2idx.pkl").write_bytes(pickle.dumps({25: 2}))
    read = read_all(BottomUpHdf5(), path)
    assert reasons(read)[0] == "no image has this row, according to the file of image ids"
    assert read[2].id == "25"


def test_ids_of_rows_that_the_file_lacks_are_reported_once(tmp_path, monkeypatch):
    path = write_bottom_up(tmp_path, IMAGES)
    rows = {262148: 0, 9: 1, 25: 2, "behind": 3, "before": -1}
    (tmp_path / "train36_imgid2idx.pkl").write_bytes(pickle.dumps(rows))
    monkeypatch.setattr(interfaces, "PIECE_BYTES", 1)
    *images, before, behind = read_all(BottomUpHdf5(), path)
    check(IMAGES, images)
    reason = "the file has no such row as the file of image ids says"
    assert before == ReadError(None, "before", reason)
    assert behind == ReadError(None, "behind", reason)
    check(IMAGES[:2], read_all(BottomUpHdf5(), path, rows=(0, 2)))


def test_ranges_of_more_regions_than_an_image_has_are_not_read(tmp_path, monkeypatch):
    images = [small(str(number), count=count) for number, count in enumerate((3, 36, 1))]
    path = write_bottom_up(tmp_path, images, adaptive=True)
    monkeypatch.setattr(bottom_up_hdf5, "LARGEST_ROW", images[0].features.nbytes)
    first, large, last = read_all(BottomUpHdf5(), path)
    assert large.reason == "an array is larger than 128 MB"
    check([images[0], images[2]], [first, last])
    monkeypatch.setattr(bottom_up_hdf5, "LARGEST_ROW", 2 * 2 * 4)
    assert "refused: 'pos_boxes' is larger than 128 MB" in refused(path)


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [
        (np.zeros([0, 2], "i4"), "pos_boxes (0, 2) are not the first and last region of images"),
        (np.zeros([3, 3], "i4"), "pos_boxes (3, 3) are not the first and last region of images"),
    ],
)
def test_pos_boxes_must_be_ranges(tmp_path, ranges, reason):
    def edit(file):
        del file["pos_boxes"]
        file["pos_boxes"] = ranges

    assert reason in refused(write_bottom_up(tmp_path, IMAGES, adaptive=True, edit=edit))


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        BottomUpHdf5().pieces(input_file(path))
    return str(caught.value)


def test_image_ids_must_be_there_and_data(tmp_path):
    path = write_bottom_up(tmp_path, IMAGES)
    ids = tmp_path / "train36_imgid2idx.pkl"
    for content, reason in (
        ([1], "must hold a dict of image ids and rows"),
        ({1: "a"}, "must hold a dict"),
        ({1: 0, 2: 0}, "two images have the same row"),
        (os.system, "refused: the file asks for posix.system"),
    ):
        ids.write_bytes(pickle.dumps(content))
        assert f"{ids}: {reason}" in refused(path)
    ids.unlink()
    assert str(ids) in refused(path)


def test_sizes_need_both_kinds_of_boxes(tmp_path):
    path = write_bottom_up(tmp_path, IMAGES, edit=lambda file: file.__delitem__("spatial_features"))
    assert "it has no 'spatial_features', from which the images' sizes follow" in refused(path)

    def cut(file):
        del file["image_bb"]
        file["image_bb"] = np.ones([2, 3, 4], "f4")

    assert "do not fit" in refused(write_bottom_up(tmp_path, IMAGES, edit=cut))


@pytest.mark.parametrize("labels", [True, False])
def test_groups_of_vl_t5(tmp_path, labels):
    images = sorted(real(), key=lambda image: image.image_id)
    path = write_groups(tmp_path, images, labels)
    assert detect_format(input_file(path)) == "grouped_hdf5"
    check(images, read_all(GroupedHdf5(), path), labels)
    check(images[1:], read_all(GroupedHdf5(), path, rows=(1, None)), labels)


def test_a_group_that_is_none_is_alone(tmp_path):
    images = [small(name) for name in "abcd"]
    path = write_groups(tmp_path, images)
    with h5py.File(path, "r+") as file:
        del file["b"]["img_h"]
        del file["c"]
        file["c"] = h5py.SoftLink("/a")
        file["e"] = np.ones(3)
    a, b, c, d, e = read_all(GroupedHdf5(), path)
    assert [item.id for item in (a, b, c, d, e)] == list("abcde")
    assert b.reason == "the image has no height or width"
    assert c.reason == "the image is a link to another place or file"
    assert e.reason == "the image is not a group of arrays"


def test_a_link_to_another_file_is_not_followed(tmp_path):
    write_groups(tmp_path, IMAGES)
    path = tmp_path / "links.h5"
    for link in (h5py.ExternalLink("val2014_obj36.h5", "/9"), h5py.SoftLink("/b")):
        with h5py.File(path, "w") as file:
            file["a"], file["b"] = link, 1.0
        with pytest.raises(InputError, match="unknown format, with a, b; those known"):
            detect_format(input_file(path))


def test_other_hdf5_names_what_it_has(tmp_path):
    path = tmp_path / "coco.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.ones([2, 8]), np.ones([2, 4])
    with pytest.raises(InputError, match="unknown format, with x, y; those known"):
        detect_format(input_file(path))
    with h5py.File(path, "w") as file:
        file["9_features"], file["9_boxes"] = np.ones([2, 8]), np.ones([2, 4])
    with pytest.raises(InputError, match="Meshed-Memory Transformer; it lacks the images' sizes"):
        detect_format(input_file(path))
    gqa = test_gqa_hdf5.write(tmp_path, [small("a")])
    assert detect_format(input_file(gqa)) == "gqa_hdf5"
    path.write_bytes(b"none")
    with pytest.raises(InputError, match="not HDF5"):
        detect_format(input_file(path))


@pytest.mark.parametrize(
    ("write", "reader"), [(write_bottom_up, BottomUpHdf5), (write_groups, GroupedHdf5)]
)
@settings(max_examples=30)
@given(data=st.data())
def test_a_damaged_file_gives_images_and_rejects_or_one_line(tmp_path_factory, write, reader, data):
    path = write(tmp_path_factory.mktemp("damaged"), IMAGES)
    with open(path, "r+b") as file:
        for _ in range(data.draw(st.integers(1, 4))):
            file.seek(data.draw(st.integers(0, os.path.getsize(path) - 1)))
            file.write(data.draw(st.binary(min_size=1, max_size=8)))
    try:
        read = read_all(reader(), path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert all(isinstance(item, ReadError) or item.regions.features.size for item in read)
