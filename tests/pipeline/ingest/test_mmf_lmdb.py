import os
import pickle

import lmdb
import numpy as np
import pytest

from lxmert_tf.errors import InputError
from pipeline.ingest import interfaces
from pipeline.ingest.files import InputFile, find_inputs
from pipeline.ingest.readers.mmf_lmdb import MmfLmdb
from tests.pipeline.ingest import detections
from tests.pipeline.ingest.foreign_pickles import Command, by_python_2
from tests.pipeline.ingest.reading import input_file, read_all, reasons


def value_of(image, **changes) -> dict:
    """What MMF's lmdb_conversion.py stores of an image."""
    probabilities = np.zeros([len(image.features), 3], np.float32)
    probabilities[:, 1] = image.object_confidences
    return {
        "feature_path": image.image_id,
        "features": image.features,
        "image_height": image.height,
        "image_width": image.width,
        "num_boxes": len(image.boxes),
        "objects": image.object_ids,
        "cls_prob": probabilities,
        "bbox": image.boxes,
        **changes,
    }


def write(folder, values: dict[str, bytes]) -> str:
    """Writes a database; returns its data file."""
    with lmdb.open(str(folder), map_size=1 << 28) as database:
        with database.begin(write=True) as transaction:
            for key, value in values.items():
                transaction.put(key.encode(), value)
            keys = [key.encode() for key in values]
            transaction.put(b"keys", pickle.dumps(keys))
    return os.path.join(folder, "data.mdb")


def write_images(folder, images) -> str:
    return write(folder, {image.image_id: pickle.dumps(value_of(image)) for image in images})


def test_reads_what_mmf_writes(tmp_path):
    images = detections.real()
    read = read_all(MmfLmdb(), write_images(tmp_path / "coco.lmdb", images))
    assert len(read) == len(images)
    for found, image in zip(read, sorted(images, key=lambda image: image.image_id)):
        image.check(found, attribute_labels=False)


def test_reads_what_python_2_wrote(tmp_path):
    image = detections.small("COCO_1")
    path = write(tmp_path / "old.lmdb", {"COCO_1": by_python_2(value_of(image))})
    image.check(read_all(MmfLmdb(), path)[0], attribute_labels=False)


def test_a_database_may_be_named_by_its_folder_or_be_one_file(tmp_path):
    image = detections.small("1")
    data = write_images(tmp_path / "a.lmdb", [image])
    for pattern in ("a.lmdb", "*.lmdb/data.mdb"):
        [file] = find_inputs([str(tmp_path / pattern)])
        [piece] = MmfLmdb().pieces(file)
        [read] = MmfLmdb().read(piece)
        image.check(read.image, attribute_labels=False)
    os.rename(data, tmp_path / "b.lmdb")
    image.check(read_all(MmfLmdb(), tmp_path / "b.lmdb")[0], attribute_labels=False)


def test_units_are_rows_in_the_order_of_the_keys(tmp_path, monkeypatch):
    images = [detections.small(str(number)) for number in range(10, 30)]
    path = write_images(tmp_path / "a.lmdb", images[::-1])
    # `keys` stands behind the digits, and "z" behind it.
    monkeypatch.setattr(interfaces, "PIECE_BYTES", os.path.getsize(path) // 4)
    pieces = MmfLmdb().pieces(input_file(path))
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 5), (5, 10), (10, 15), (15, 20)]
    # Several pieces at a time: the database is opened once.
    for items in zip(*(MmfLmdb().read(piece) for piece in pieces)):
        assert len({item.line for item in items}) == 1
    read = read_all(MmfLmdb(), path)
    assert [image.id for image in read] == [image.image_id for image in images]
    assert [image.id for image in read_all(MmfLmdb(), path, rows=(3, 9))] == [
        image.image_id for image in images[3:9]
    ]
    assert read_all(MmfLmdb(), path, rows=(20, None)) == []


def test_the_list_of_keys_is_not_an_image(tmp_path):
    path = write_images(tmp_path / "a.lmdb", [detections.small(name) for name in ("a", "z")])
    assert [image.id for image in read_all(MmfLmdb(), path)] == ["a", "z"]


def test_only_the_boxes_that_are_counted_are_regions(tmp_path):
    image = detections.small("1", count=4)
    values = value_of(image, num_boxes=2)
    [read] = read_all(MmfLmdb(), write(tmp_path / "a.lmdb", {"1": pickle.dumps(values)}))
    np.testing.assert_array_equal(read.regions.features, image.features[:2])
    np.testing.assert_array_equal(read.regions.object_ids, image.object_ids[:2])


def test_ids_without_probabilities_are_left_out(tmp_path):
    image = detections.small("1")
    values = pickle.dumps(value_of(image, cls_prob=None))
    [read] = read_all(MmfLmdb(), write(tmp_path / "a.lmdb", {"1": values}))
    image.check(read, object_labels=False, attribute_labels=False)


def without(image, name):
    return {key: value for key, value in value_of(image).items() if key != name}


def test_the_neighbors_of_an_invalid_image_are_read(tmp_path):
    image, made = detections.small("x"), tmp_path / "made"
    nan = image.features.copy()
    nan[1, 1] = np.nan
    wrong = {
        "the file asks for posix.mkdir": value_of(image, features=Command(made)),
        "the pickle is damaged or cut short": None,
        "the value is not a dict": [1],
        "the image has no features": without(image, "features"),
        "the image has no boxes": without(image, "bbox"),
        "the image has no height or width": without(image, "image_width"),
        "image_height is not a whole number": value_of(image, image_height="48"),
        "features is not an array": value_of(image, features=image.features.tolist()),
        "features are NaN or infinite": value_of(image, features=nan),
        "boxes lie outside the image": value_of(image, bbox=image.boxes + 100),
        "boxes are inverted": value_of(image, bbox=image.boxes[:, [2, 3, 0, 1]]),
        "the image has no regions": value_of(image, num_boxes=0),
        "ids or confidences do not fit": value_of(image, num_boxes=4),
        "confidences lie outside 0..1": value_of(image, cls_prob=np.full([3, 2], 2.0)),
        "confidences are not numbers": value_of(image, cls_prob=np.full([3, 2], None)),
    }
    values, good = {}, []
    for number, value in enumerate(wrong.values()):
        good.append(detections.small(f"{number:02}a"))
        values[f"{number:02}a"] = pickle.dumps(value_of(good[-1]))
        values[f"{number:02}b"] = pickle.dumps(value) if value else b"\x80\x04X"
    read = read_all(MmfLmdb(), write(tmp_path / "a.lmdb", values))
    assert len(read) == len(values) and not made.exists()
    for found, image in zip(read[::2], good):
        image.check(found, attribute_labels=False)
    for problem, (number, reason) in zip(read[1::2], enumerate(wrong), strict=True):
        assert (problem.id, problem.line) == (f"{number:02}b", 2 * number + 2)
        assert reason in problem.reason and problem.size > 0


def test_a_key_that_is_not_text_is_an_error(tmp_path):
    with lmdb.open(str(tmp_path / "a.lmdb")) as database, database.begin(write=True) as writing:
        writing.put(b"a\xff", pickle.dumps(value_of(detections.small("a"))))
    assert reasons(read_all(MmfLmdb(), tmp_path / "a.lmdb" / "data.mdb")) == [
        "the image's id is not UTF-8"
    ]


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        MmfLmdb().pieces(input_file(path))
    assert len(str(caught.value).splitlines()) == 1 and str(path) in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_not_a_database_is_refused(tmp_path):
    text = tmp_path / "text.lmdb"
    text.write_text("no database\n" * 1000)
    assert "not an LMDB file" in refused(text)
    text.write_bytes(b"")
    assert "not an LMDB file" in refused(text)
    (tmp_path / "folder").mkdir()
    assert "No such file" in refused(tmp_path / "folder")
    with lmdb.open(str(tmp_path / "empty.lmdb")) as database:
        database.sync()
    assert "no images" in refused(tmp_path / "empty.lmdb" / "data.mdb")


def test_refuses_one_that_was_cut_short_before_it_looks_behind_the_end(tmp_path):
    path = write_images(tmp_path / "a.lmdb", [detections.small(str(n)) for n in range(50)])
    for size in (os.path.getsize(path) - 1, os.path.getsize(path) // 2, 8192):
        os.truncate(path, size)
        assert "cut short" in refused(path)


def test_refuses_files_elsewhere_and_in_archives():
    for file in (InputFile("gs://bucket/a.lmdb", 1), InputFile("a.zip", 1, "data.mdb")):
        with pytest.raises(InputError, match="must be local and unpacked"):
            MmfLmdb().pieces(file)
