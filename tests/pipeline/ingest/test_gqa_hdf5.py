import json
import os

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from pipeline.ingest import interfaces
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.readers import gqa_hdf5
from pipeline.ingest.readers.gqa_hdf5 import GqaHdf5
from tests.pipeline.ingest import detections
from tests.pipeline.ingest.reading import input_file, read_all, reasons

REGIONS = 6


def write(folder, images, number=0, regions=REGIONS, edit=None, **storage) -> str:
    """Writes images as GQA's objects are: padded to one number of regions, in pixels."""
    features = np.zeros([len(images), regions, images[0].features.shape[1]], np.float32)
    boxes = np.zeros([len(images), regions, 4], np.float32)
    path = folder / f"gqa_objects_{number}.h5"
    for row, image in enumerate(images):
        features[row, : len(image.features)] = image.features
        boxes[row, : len(image.boxes)] = image.boxes
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=features, **storage)
        file.create_dataset("bboxes", data=boxes, **storage)
    write_info(folder, images, number, edit)
    return str(path)


def write_info(folder, images, number, edit):
    path = folder / "gqa_objects_info.json"
    info = json.loads(path.read_text()) if path.exists() else {}
    for row, image in enumerate(images):
        sizes = {"width": image.width, "height": image.height, "objectsNum": len(image.boxes)}
        info[image.image_id] = {**sizes, "idx": row, "file": number}
    if edit:
        edit(info)
    path.write_text(json.dumps(info))


def some(*names, count=3):
    return [detections.small(name, count=count) for name in names]


def check(images, read):
    assert len(read) == len(images)
    for image, found in zip(images, read):
        image.check(found, object_labels=False, attribute_labels=False)


@pytest.mark.parametrize("storage", [{}, {"compression": "gzip"}, {"compression": "lzf"}])
def test_reads_real_regions(tmp_path, storage):
    images = detections.real()
    check(images, read_all(GqaHdf5(), write(tmp_path, images, regions=100, **storage)))


def test_boxes_of_integers_are_read(tmp_path):
    [image] = some("1")
    path = write(tmp_path, [image])
    with h5py.File(path, "a") as file:
        boxes = file["bboxes"][()].astype(np.int32)
        del file["bboxes"]
        file["bboxes"] = boxes
    [read] = read_all(GqaHdf5(), path)
    scale = np.array([image.width, image.height] * 2, np.float32)
    np.testing.assert_allclose(read.regions.boxes, boxes[0, :3] / scale, rtol=1e-6)


def test_padding_is_not_a_region(tmp_path):
    images = [detections.small("1", count=2), detections.small("n2", count=REGIONS)]
    check(images, read_all(GqaHdf5(), write(tmp_path, images)))


def test_reads_the_info_file_anew_when_it_changed(tmp_path):
    path = write(tmp_path, some("a"))
    check(some("a"), read_all(GqaHdf5(), path))
    os.remove(tmp_path / "gqa_objects_info.json")
    path = write(tmp_path, some("b"))
    check(some("b"), read_all(GqaHdf5(), path))


def test_the_number_in_the_name_tells_the_file(tmp_path):
    paths = [write(tmp_path, some(f"{n}a", f"{n}b"), number=n) for n in (0, 1, 15)]
    for number, path in zip((0, 1, 15), paths):
        check(some(f"{number}a", f"{number}b"), read_all(GqaHdf5(), path))


def test_units_are_ranges_of_rows(tmp_path, monkeypatch):
    images = some(*"abcdefg")
    path = write(tmp_path, images)
    row_bytes = REGIONS * (8 + 4) * 4
    monkeypatch.setattr(interfaces, "PIECE_BYTES", 3 * row_bytes)
    pieces = GqaHdf5().pieces(input_file(path))
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 3), (3, 6), (6, 7)]
    assert [piece.size for piece in pieces] == [3 * row_bytes, 3 * row_bytes, row_bytes]
    check(images, read_all(GqaHdf5(), path))
    check(images[2:5], read_all(GqaHdf5(), path, rows=(2, 5)))
    assert read_all(GqaHdf5(), path, rows=(7, None)) == []
    assert [item.line for item in GqaHdf5().read(pieces[1])] == [1, 2, 3]


def test_the_neighbors_of_an_invalid_image_are_read(tmp_path):
    images = some(*(f"{n}" for n in range(10)))
    images[1].features[0, 0] = np.nan
    images[2].boxes += 100
    images[3].boxes = images[3].boxes[:, [2, 3, 0, 1]]

    def edit(info):
        info["4"]["objectsNum"] = 0
        info["5"]["objectsNum"] = REGIONS + 1
        info["6"]["width"] = "64"
        info["7"]["idx"] = None
        info["same"] = info["8"]
        info["behind"] = {**info["9"], "idx": 10}
        info["before"] = {**info["9"], "idx": -1}
        info["odd"] = []

    read = read_all(GqaHdf5(), write(tmp_path, images, edit=edit))
    good = [item for item in read if not isinstance(item, ReadError)]
    check([images[n] for n in (0, 8, 9)], good)
    assert [(item.line, item.id, item.reason) for item in read if isinstance(item, ReadError)] == [
        (2, "1", "features are NaN or infinite"),
        (3, "2", "boxes lie outside the image"),
        (4, "3", "boxes are inverted: their right or lower edge comes first"),
        (5, "4", "the image has no regions"),
        (6, "5", "objectsNum is not within the regions of a row"),
        (7, "6", "the info file has no whole width, height or objectsNum for it"),
        (8, "", "the info file has no image for the row"),
        (9, "same", "another image has the same row"),
        (None, "before", "the file has no such row as the info file says"),
        (None, "behind", "the file has no such row as the info file says"),
    ]


def test_a_damaged_chunk_is_a_problem_of_its_row(tmp_path):
    images = some("a", "b", "c")
    path = write(tmp_path, images, compression="gzip", chunks=(1, REGIONS, 4))
    with h5py.File(path) as file:
        chunk = file["features"].id.get_chunk_info_by_coord((1, 0, 0))
    with open(path, "r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(bytes(chunk.size))
    first, problem, last = read_all(GqaHdf5(), path)
    check([images[0], images[2]], [first, last])
    assert (problem.id, problem.reason) == ("b", "the row is damaged or cut short")


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        GqaHdf5().pieces(input_file(path))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    write_info(tmp_path, some("a"), 0, None)
    return tmp_path


def make(folder, fill) -> str:
    path = folder / "gqa_objects_0.h5"
    with h5py.File(path, "w") as file:
        fill(file)
    return str(path)


def test_refuses_links_out_of_the_file(folder):
    target = make(folder, lambda file: file.create_dataset("features", data=np.ones([1, 2, 8])))
    other = folder / "other.h5"
    os.rename(target, other)
    for link in (h5py.ExternalLink(str(other), "features"), h5py.SoftLink("/x")):
        path = make(folder, lambda file, link=link: file.__setitem__("features", link))
        assert "refused: 'features' is a link" in refused(path)


def test_refuses_data_in_other_files(folder):
    (folder / "secret").write_bytes(bytes(64))

    def external(file):
        place = [(str(folder / "secret"), 0, 64)]
        file.create_dataset("features", (1, 2, 8), "f4", external=place)

    def virtual(file):
        layout = h5py.VirtualLayout((1, 2, 8), "f4")
        layout[0] = h5py.VirtualSource(str(folder / "secret.h5"), "x", (2, 8))
        file.create_virtual_dataset("features", layout)

    for fill in (external, virtual):
        assert "lies in other files" in refused(make(folder, fill))


def test_other_layouts_are_refused(folder):
    def with_shapes(features, boxes, dtype="f4"):
        def fill(file):
            file.create_dataset("features", data=np.ones(features, dtype))
            file.create_dataset("bboxes", data=np.ones(boxes, dtype))

        return make(folder, fill)

    assert "it has no 'features'" in refused(make(folder, lambda file: None))
    assert "not a numeric array" in refused(make(folder, lambda f: f.create_group("features")))
    assert "not a numeric array" in refused(with_shapes((1, 2, 8), (1, 2, 4), "S1"))
    assert "not a numeric array" in refused(with_shapes((1, 2), (1, 2, 4)))
    assert "do not fit" in refused(with_shapes((2, 2, 8), (1, 2, 4)))
    assert "do not fit" in refused(with_shapes((1, 2, 8), (1, 2, 5)))
    assert "do not fit" in refused(with_shapes((0, 2, 8), (0, 2, 4)))


def test_refuses_shapes_without_data(folder):
    def fill(file, **storage):
        file.create_dataset("features", (10**6, 2, 8), "f4", **storage)
        file.create_dataset("bboxes", (10**6, 2, 4), "f4", **storage)

    for storage in ({}, {"chunks": (1, 2, 4)}):
        path = make(folder, lambda file, storage=storage: fill(file, **storage))
        assert "less data than its shape says" in refused(path)


def test_refuses_chunks_that_do_not_fit_the_memory(folder):
    def fill(file):
        file.create_dataset("features", (1, 2, 8), "f4", chunks=(10**6, 4, 8), maxshape=[None] * 3)
        file.create_dataset("bboxes", data=np.ones([1, 2, 4], "f4"))

    assert "chunks of 'features' are larger" in refused(make(folder, fill))


def test_refuses_damaged_and_shortened_files(folder):
    path = write(folder, some("a"))
    os.truncate(path, os.path.getsize(path) - 1)
    assert "damaged or cut short" in refused(path)
    with open(path, "wb") as file:
        file.write(b"no hdf5")
    assert "not HDF5" in refused(path)


def test_a_file_without_a_number_is_number_0_of_its_info_file(tmp_path):
    path = write(tmp_path, some("a"))
    os.rename(path, tmp_path / "gqa_objects.h5")
    check(some("a"), read_all(GqaHdf5(), tmp_path / "gqa_objects.h5"))


def test_refuses_other_names_and_archives(tmp_path):
    with pytest.raises(InputError, match=r"objects_info\.json: No such file"):
        GqaHdf5().pieces(InputFile(str(tmp_path / "objects.h5"), 1))
    with pytest.raises(InputError, match=r"must end in \.h5 or \.hdf5, as gqa_objects_0\.h5"):
        GqaHdf5().pieces(InputFile(str(tmp_path / "objects"), 1))
    write_info(tmp_path, some("a"), 0, None)
    with pytest.raises(InputError, match="unpack"):
        gqa_hdf5.GqaHdf5().read(
            gqa_hdf5.Piece(InputFile(str(tmp_path / "gqa_objects_0.h5"), 1, "member"))
        ).__next__()


@pytest.mark.parametrize("text", ["{", "[]", "\xff", '{"a":' * 100000])
def test_refuses_an_info_file_that_is_none(tmp_path, text):
    path = write(tmp_path, some("a"))
    (tmp_path / "gqa_objects_info.json").write_text(text, encoding="latin-1")
    assert "gqa_objects_info.json: not" in refused(path)


def test_refuses_a_missing_info_file(tmp_path):
    path = write(tmp_path, some("a"))
    os.remove(tmp_path / "gqa_objects_info.json")
    assert "gqa_objects_info.json: " in refused(path)


@given(data=st.data())
def test_a_damaged_file_gives_images_and_problems_or_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = write(folder, some("a", "b"), compression=data.draw(st.sampled_from([None, "gzip"])))
    with open(path, "r+b") as file:
        for _ in range(data.draw(st.integers(1, 4))):
            file.seek(data.draw(st.integers(0, os.path.getsize(path) - 1)))
            file.write(data.draw(st.binary(min_size=1, max_size=8)))
    try:
        read = read_all(GqaHdf5(), path)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(reasons(read)) <= len(read)
