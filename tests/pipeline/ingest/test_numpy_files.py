import contextlib
import gzip
import io
import os
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionError
from pipeline.ingest.files import InputFile, find_inputs
from pipeline.ingest.parsers.npy_stream import read_npy
from pipeline.ingest.readers.numpy_files import NumpyFiles
from tests.pipeline.ingest import detections
from tests.pipeline.ingest.foreign_pickles import Command
from tests.pipeline.ingest.reading import input_file, read_all, reasons


def write_npz(path, image, **changes):
    """What MILVLG's bottom-up-attention.pytorch writes."""
    info = {
        "image_id": image.image_id,
        "image_h": image.height,
        "image_w": image.width,
        "num_boxes": len(image.boxes),
        "objects_id": image.object_ids,
        "objects_conf": image.object_confidences,
        "attrs_id": image.attribute_ids,
        "attrs_conf": image.attribute_confidences,
    }
    arrays = {
        "x": image.features,
        "bbox": image.boxes,
        "num_bbox": len(image.boxes),
        "image_h": image.height,
        "image_w": image.width,
        "info": info,
    }
    np.savez_compressed(path, **{**arrays, **changes})
    return path


def write_npy(path, image, **changes):
    """What MMF's extract_features_vmb.py writes: two files."""
    info = {
        "bbox": image.boxes,
        "num_boxes": len(image.boxes),
        "objects": image.object_ids,
        "cls_prob": image.object_confidences[:, None] * np.float32([0, 1, 0.5]),
        "image_width": image.width,
        "image_height": image.height,
    }
    np.save(path, image.features)
    np.save(str(path).replace(".npy", "_info.npy"), {**info, **changes})
    return path


def test_reads_the_archives_of_bottom_up_attention(tmp_path):
    for image in detections.real():
        [read] = read_all(NumpyFiles(), write_npz(tmp_path / f"{image.image_id}.npz", image))
        image.check(read)


def test_reads_archives_of_features_by_column_without_labels(tmp_path):
    image = detections.small("COCO_train2014_000000000009")
    path = tmp_path / f"{image.image_id}.jpg.npz"
    sizes = {"image_h": image.height, "image_w": image.width, "num_bbox": len(image.boxes)}
    np.savez(path, x=image.features.T, bbox=image.boxes, **sizes)
    [read] = read_all(NumpyFiles(), path)
    image.check(read, object_labels=False, attribute_labels=False)
    assert read.regions.features.flags.c_contiguous


def test_reads_the_pairs_of_mmf(tmp_path):
    for image in detections.real():
        [read] = read_all(NumpyFiles(), write_npy(tmp_path / f"{image.image_id}.npy", image))
        image.check(read, attribute_labels=False)


def test_reads_the_dicts_of_vilbert(tmp_path):
    for image in detections.real():
        path = write_npy(tmp_path / f"{image.image_id}.npy", image)
        info = np.load(tmp_path / f"{image.image_id}_info.npy", allow_pickle=True).item()
        os.remove(tmp_path / f"{image.image_id}_info.npy")
        np.save(path, {"image_id": image.image_id, "features": image.features, **info})
        [read] = read_all(NumpyFiles(), path)
        image.check(read, attribute_labels=False)


def test_a_pattern_may_name_both_files_of_a_pair(tmp_path):
    for name in ("a", "b"):
        write_npy(tmp_path / f"{name}.npy", detections.small(name))
    files = find_inputs([str(tmp_path / "*.npy")])
    assert len(files) == 4
    pieces = [piece for file in files for piece in NumpyFiles().pieces(file)]
    assert [item.image.id for piece in pieces for item in NumpyFiles().read(piece)] == ["a", "b"]


def test_reads_members_of_an_archive_and_gzipped_files(tmp_path):
    image = detections.small("a")
    write_npy(tmp_path / "a.npy", image)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("a.npy", "a_info.npy"):
            archive.write(tmp_path / name, f"train/{name}")
    for name in ("a.npy", "a_info.npy"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        os.remove(tmp_path / name)
    for pattern in ("all.zip", "*.gz"):
        files = find_inputs([str(tmp_path / pattern)])
        pieces = [piece for file in files for piece in NumpyFiles().pieces(file)]
        [read] = [item for piece in pieces for item in NumpyFiles().read(piece)]
        image.check(read.image, attribute_labels=False)


def test_the_rows_of_a_file_are_its_one_image(tmp_path):
    path = write_npz(tmp_path / "a.npz", detections.small("a"))
    assert len(read_all(NumpyFiles(), path, rows=(0, 1))) == 1
    assert read_all(NumpyFiles(), path, rows=(0, 0)) == []
    assert read_all(NumpyFiles(), path, rows=(1, None)) == []


def test_refuses_other_endings(tmp_path):
    with pytest.raises(InputError, match=r"a\.txt: neither"):
        NumpyFiles().pieces(InputFile("a.txt", 1))


def problem_of(path) -> str:
    [item] = read_all(NumpyFiles(), path)
    [reason] = reasons([item])
    assert item.id == "a" and item.size == os.path.getsize(path)
    return reason


def test_errors_of_an_archive_are_named(tmp_path):
    path, image = tmp_path / "a.npz", detections.small("a")
    inverted = image.boxes[:, [2, 3, 0, 1]]
    assert "boxes are inverted" in problem_of(write_npz(path, image, bbox=inverted))
    assert "do not fit" in problem_of(write_npz(path, image, bbox=image.boxes[:2]))
    assert "do not fit" in problem_of(write_npz(path, image, num_bbox=9, info=None))
    assert "image_height is not a whole" in problem_of(write_npz(path, image, image_h=1.5))
    assert "an array holds neither" in problem_of(write_npz(path, image, x=np.zeros(3, "f4,f4")))
    np.savez(path, x=image.features)
    assert "the image has no boxes" in problem_of(path)
    np.savez(path, x=image.features, bbox=image.boxes, image_h=3)
    assert "no height or width" in problem_of(path)
    for content, reason in (
        (b"no archive", "not in NumPy's format .npz, which is a zip archive"),
        (b"", "the file is empty"),
        (write_npz(path, image).read_bytes()[:-9], "the file is damaged or cut short"),
    ):
        path.write_bytes(content)
        assert problem_of(path) == reason


def test_arrays_of_any_layout_and_byte_order_are_read(tmp_path):
    path, image = tmp_path / "a.npz", detections.small("a")
    for changes in (
        {"x": np.asfortranarray(image.features), "bbox": np.asfortranarray(image.boxes)},
        {"x": image.features.astype(">f4"), "bbox": image.boxes.astype(">f4")},
        {"x": image.features.astype(np.float64), "image_h": 48.0, "image_w": np.array([64])},
    ):
        [item] = read_all(NumpyFiles(), write_npz(path, image, **changes))
        image.check(item)
    [item] = read_all(NumpyFiles(), write_npz(path, image, x=image.features.astype(">f2")))
    np.testing.assert_array_equal(item.regions.features, image.features.astype(np.float16))


def test_arrays_of_python_objects_are_called_so(tmp_path):
    path, image = tmp_path / "a.npz", detections.small("a")
    reason = "an array holds Python objects (dtype object) instead of numbers"
    assert problem_of(write_npz(path, image, x=image.features.astype(object))) == reason
    np.save(tmp_path / "a.npy", np.array([{}, {}]))
    assert problem_of(tmp_path / "a.npy") == reason


def test_errors_of_a_pair_are_named(tmp_path):
    path, image = tmp_path / "a.npy", detections.small("a")
    write_npy(path, image)
    np.save(tmp_path / "a_info.npy", np.array([1, 2]))
    assert "holds no dict" in problem_of(path)
    os.remove(tmp_path / "a_info.npy")
    assert "no _info.npy beside it" in problem_of(path)
    write_npy(path, image)
    path.write_bytes(path.read_bytes()[:-1])
    assert "damaged or cut short" in problem_of(path)
    path.write_bytes(b"")
    assert problem_of(path) == "the file is empty"
    path.write_bytes(b"PK\3\4")
    assert problem_of(path) == "not in NumPy's format .npy"


def test_executes_nothing(tmp_path):
    made, image = tmp_path / "made", detections.small("a")
    command = Command(made)
    archive = write_npz(tmp_path / "a.npz", image, info=np.array(command, dtype=object))
    assert "asks for posix.mkdir" in problem_of(archive)
    pair = write_npy(tmp_path / "a.npy", image, note=command)
    assert "asks for posix.mkdir" in problem_of(pair)
    np.save(pair, np.array([command]))
    assert "asks for posix.mkdir" in problem_of(pair)
    assert not made.exists()


def npy_claiming(shape, dtype="<f4") -> io.BytesIO:
    stream = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    stream.write(bytes(16))
    stream.seek(0)
    return stream


def test_claims_of_a_header_take_no_memory():
    with pytest.raises(RegionError, match="larger than 256 MB"):
        read_npy(npy_claiming((10**12, 4)))
    with pytest.raises(RegionError, match="damaged or cut short"):
        read_npy(npy_claiming((10**6, 4)))
    with pytest.raises(RegionError, match="damaged or cut short"):
        read_npy(npy_claiming((10**12,), "<U0"))
    with pytest.raises(RegionError, match="neither numbers nor text"):
        read_npy(npy_claiming((-2, -2)))
    assert read_npy(npy_claiming((2, 2))).shape == (2, 2)


def test_an_archive_that_unpacks_to_too_much_is_a_problem(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy_claiming((10**9, 1)).getvalue() + bytes(1 << 20))
    assert problem_of(tmp_path / "a.npz") == "an array is larger than 256 MB"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "a.npz"
    return write_npz(path, detections.small("a")).read_bytes()


@given(data=st.data())
def test_a_damaged_archive_is_one_problem_or_image(whole, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "a.npz"
    place = data.draw(st.integers(0, len(whole) - 1))
    change = data.draw(st.binary(max_size=4))
    path.write_bytes(whole[:place] + change + (whole[place + 1 :] if change else b""))
    [piece] = NumpyFiles().pieces(input_file(path))
    assert len(list(NumpyFiles().read(piece))) == 1


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_magic_are_an_array_or_a_fault(content):
    header = b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little")
    for data in (content, header + content):
        with contextlib.suppress(RegionError):
            read_npy(io.BytesIO(data))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(version):
    stream = io.BytesIO()
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.lib.format.write_array(stream, array, version)
    np.testing.assert_array_equal(read_npy(io.BytesIO(stream.getvalue())), array)
    later = stream.getvalue()[:6] + b"\4" + stream.getvalue()[7:]
    with pytest.raises(RegionError, match=r"not of version 1\.0, 2\.0, or 3\.0"):
        read_npy(io.BytesIO(later))


def test_arrays_that_expand_too_much_together_are_refused(tmp_path):
    path = write_npz(tmp_path / "a.npz", detections.small("a"))
    data = bytearray(path.read_bytes())
    start = 0
    # Each may have 256 MB by itself.
    for _ in range(3):
        start = data.index(b"PK\x01\x02", start + 1)
        struct.pack_into("<I", data, start + 24, 100 << 20)
    path.write_bytes(data)
    assert reasons(read_all(NumpyFiles(), path)) == ["the arrays are larger than 256 MB"]


def test_arrays_in_lzma_are_refused(tmp_path):
    path = write_npz(tmp_path / "a.npz", detections.small("a"))
    with zipfile.ZipFile(path) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in arrays.items():
            archive.writestr(name, content)
    [reason] = reasons(read_all(NumpyFiles(), path))
    assert "compressed in another way" in reason


@pytest.mark.parametrize("shape", ["(0, 1180591620717411303424)", f"({'0, ' * 100})"])
def test_an_empty_array_of_any_other_sides_is_damaged(shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    data = np.lib.format.magic(1, 0) + struct.pack("<H", len(header)) + header
    with pytest.raises(RegionError, match="damaged"):
        read_npy(io.BytesIO(data))
