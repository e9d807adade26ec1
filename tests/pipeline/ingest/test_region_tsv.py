"""The text formats of regions: valid rows are read unchanged, invalid ones are reported."""

import base64
import bz2
import dataclasses
import gzip
import itertools
import re
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from pipeline.ingest.checks.region_checks import RegionError
from pipeline.ingest.files import find_inputs
from pipeline.ingest.interfaces import ReadError, ReadImage, Returned
from pipeline.ingest.parsers import text_rows
from pipeline.ingest.parsers.tsv_row import TsvRow
from pipeline.ingest.readers.region_tsv import BottomUpTsv, LxmertTsv
from pipeline.ingest.registry import detect_format
from tests.pipeline.ingest.detections import real, small
from tests.pipeline.ingest.reading import input_file, read_all, reasons
from tests.pipeline.ingest.tsv_rows import bottom_up_cells, encode, lxmert_cells, row
from tests.reference import reference_file

FORMATS = [(LxmertTsv, lxmert_cells), (BottomUpTsv, bottom_up_cells)]
IMAGES = [small(f"image-{i}", count) for i, count in enumerate((3, 1, 36, 2, 120))]


def written(folder, content: bytes):
    path = folder / "regions.tsv"
    path.write_bytes(content)
    return path


def changed(boxes=None, features=None, confidences=None, ids=None) -> dict[str, bytes]:
    """Cells of a row of IMAGES[0] with other arrays."""
    arrays = {"boxes": boxes, "features": features, "objects_conf": confidences}
    cells = {name: encode(values) for name, values in arrays.items() if values is not None}
    return cells if ids is None else {**cells, "objects_id": encode(ids, "<i8")}


def with_value(values: np.ndarray, value: float) -> np.ndarray:
    values = values.copy()
    values.flat[-1] = value
    return values


FIRST = IMAGES[0]
CELLS = lxmert_cells(FIRST)
FEATURES, BOXES = CELLS["features"], CELLS["boxes"]
FAULTS = {
    "no id": ({"img_id": b""}, "the image has no id"),
    "id in Latin-1": ({"img_id": b"caf\xe9"}, "img_id is not UTF-8"),
    "height 0": ({"img_h": b"0"}, "img_h is not a whole number of at least 1"),
    "negative width": ({"img_w": b"-3"}, "img_w is not a whole number of at least 1"),
    "fraction": ({"img_w": b"4.5"}, "img_w is not a whole number of at least 1"),
    "many digits": ({"img_h": b"9" * 5000}, "img_h is not a whole number of at least 1"),
    "other digits": ({"img_h": "٣".encode()}, "img_h is not a whole number of at least 1"),
    "no count": ({"num_boxes": b""}, "num_boxes is not a whole number of at least 1"),
    "count in words": ({"num_boxes": b"three"}, "num_boxes is not a whole number of at least 1"),
    "no regions": ({"num_boxes": b"0"}, "the image has no regions"),
    "larger count": ({"num_boxes": b"4"}, "the length of boxes does not fit num_boxes"),
    "huge count": ({"num_boxes": b"999999999"}, "the length of boxes does not fit num_boxes"),
    "ids of less": ({"objects_id": encode([1, 2], "<i8")}, "the length of objects_id does not fit"),
    "ids as int16": ({"attrs_id": encode([1, 2, 3], "<i2")}, "the length of attrs_id does not fit"),
    "ids as float32": ({"attrs_id": encode([0.0, 2.0, 3.0])}, "attrs_id are not whole numbers"),
    "ids as float64": (
        {"objects_id": encode([1, 2, 3], "<f8")},
        "objects_id are not whole numbers",
    ),
    "boxes as float16": (
        {"boxes": encode(FIRST.boxes, "<f2")},
        "the length of boxes does not fit num_boxes; its items must have 32 or 64 bits, not 16",
    ),
    "boxes of 0": (changed(boxes=[[0, 0, 0, 0]] * 3), "all corners of the boxes are 0"),
    "outside as integers": ({"boxes": encode([[0, 0, 66, 9]] * 3, "<i8")}, "boxes lie outside the"),
    "inverted as integers": ({"boxes": encode([[60, 0, 40, 9]] * 3, "<i4")}, "boxes are inverted"),
    "features as bytes": ({"features": encode(np.arange(96).reshape(3, 32), "i1")}, "features are"),
    "one confidence": ({"attrs_conf": encode([0.5])}, "the length of attrs_conf does not fit"),
    "features of less": (changed(features=FIRST.features.ravel()[:-1]), "the length of features"),
    "no features": ({"features": b""}, "the length of features does not fit num_boxes"),
    "three bytes": ({"features": b"AAAA"}, "the length of features does not fit num_boxes"),
    "sign": ({"features": b"*" + FEATURES[1:]}, "features is not base64"),
    "space": ({"boxes": BOXES[:8] + b" " + BOXES[8:]}, "boxes is not base64"),
    "sign for URLs": ({"boxes": b"_" + BOXES[1:]}, "boxes is not base64"),
    "padding": ({"objects_id": b"AA=="[:3]}, "objects_id is not base64"),
    "no padding": ({"features": FEATURES[:-1]}, "features is not base64"),
    "a quote": ({"boxes": b'"' + BOXES}, "boxes is not base64"),
    "features NaN": (changed(features=with_value(FIRST.features, np.nan)), "features are NaN"),
    "features inf": (changed(features=with_value(FIRST.features, -np.inf)), "features are NaN"),
    "boxes NaN": (changed(boxes=with_value(FIRST.boxes, np.nan)), "boxes are NaN or infinite"),
    "boxes inf": (changed(boxes=with_value(FIRST.boxes, np.inf)), "boxes are NaN or infinite"),
    "confidence": (changed(confidences=[0.1, np.inf, 0.2]), "confidences are NaN or infinite"),
    "outside": (changed(boxes=[[0, 0, 65.1, 9]] * 3), "boxes lie outside the image"),
    "before": (changed(boxes=[[-1.1, 0, 9, 9]] * 3), "boxes lie outside the image"),
    "inverted": (changed(boxes=[[60, 0, 40, 9]] * 3), "boxes are inverted"),
    "upside down": (changed(boxes=[[0, 40, 9, 30]] * 3), "boxes are inverted"),
    "negative id": (changed(ids=[1, -7, 2]), "object or attribute ids are negative"),
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_real_rows_come_out_unchanged(tmp_path, end):
    images = real()
    content = b"".join(row(lxmert_cells(image), end) for image in images)
    for image, read in zip(images, read_all(LxmertTsv(), written(tmp_path, content)), strict=True):
        image.check(read)


def test_the_release_s_own_file_is_read(tmp_path):
    read = read_all(LxmertTsv(), reference_file("coco_obj36_sample.tsv"))
    for image, one in zip(real(), read, strict=True):
        image.check(one)


@pytest.mark.parametrize("reader, cells", FORMATS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_any_number_of_regions_of_any_size(tmp_path, reader, cells, end):
    images = [*IMAGES, small("wide", 2, 2048), small("narrow", 4, 1)]
    content = b"".join(row(cells(image), end) for image in images)
    read = read_all(reader(), written(tmp_path, content))
    for image, one in zip(images, read, strict=True):
        labels = reader is LxmertTsv
        image.check(one, object_labels=labels, attribute_labels=labels)


@pytest.mark.parametrize("reader, cells", FORMATS)
def test_blank_lines_and_a_missing_last_line_end_change_nothing(tmp_path, reader, cells):
    content = b"\n\r\n" + b"\n \n".join(row(cells(image)) for image in IMAGES)
    read = read_all(reader(), written(tmp_path, content.rstrip(b"\n")))
    assert [image.id for image in read] == [image.image_id for image in IMAGES]


def test_features_are_not_copied(tmp_path):
    [read] = read_all(LxmertTsv(), written(tmp_path, row(CELLS)))
    assert not read.regions.features.flags.owndata
    assert read.regions.features.dtype == np.float32


def test_boxes_within_the_tolerance_are_cut_off(tmp_path):
    edge = np.array([[-0.0003, 0, 64.0003, 48.0002]] * 3, np.float32)
    [read] = read_all(LxmertTsv(), written(tmp_path, row({**CELLS, **changed(boxes=edge)})))
    np.testing.assert_array_equal(read.regions.boxes, [[0, 0, 1, 1]] * 3)


def test_float64_and_int32_arrays_are_read(tmp_path):
    other = {
        "objects_id": encode(FIRST.object_ids, "<i4"),
        "attrs_id": encode(FIRST.attribute_ids, "<i4"),
        "objects_conf": encode(FIRST.object_confidences, "<f8"),
        "attrs_conf": encode(FIRST.attribute_confidences, "<f8"),
        "boxes": encode(FIRST.boxes, "<f8"),
        "features": encode(FIRST.features / 3, "<f8"),
    }
    [read] = read_all(LxmertTsv(), written(tmp_path, row({**CELLS, **other})))
    dataclasses.replace(FIRST, features=FIRST.features / 3).check(read)


@pytest.mark.parametrize("dtype", ["<i4", "<i8", "<u4", "<u8"])
def test_boxes_of_integers_are_pixels(tmp_path, dtype):
    """As np.array(boxes) makes them of Python's int."""
    edge = np.array([[0, 0, 64, 48], [-1, 0, 64, 49], [5, 6, 60, 40]])
    for boxes in (edge if "i" in dtype else edge.clip(0), FIRST.boxes.astype(int)):
        given = row({**CELLS, "boxes": encode(boxes, dtype)})
        [read] = read_all(LxmertTsv(), written(tmp_path, given))
        expected = (boxes / np.array([64, 48, 64, 48], np.float32)).clip(0, 1)
        np.testing.assert_allclose(read.regions.boxes, expected, rtol=1e-6)


def test_confidences_of_integers_are_0_or_1(tmp_path):
    ones = {"objects_conf": encode([1, 0, 1], "<i8"), "attrs_conf": encode([1, 1, 1], "<i4")}
    [read] = read_all(LxmertTsv(), written(tmp_path, row({**CELLS, **ones})))
    np.testing.assert_array_equal(read.regions.object_confidences, [1, 0, 1])
    np.testing.assert_array_equal(read.regions.attribute_confidences, [1, 1, 1])


def features_of(features: np.ndarray, dtype: str):
    """The features that are read from a TSV row."""
    count = len(features)
    cells = {"num_boxes": b"%d" % count, "features": encode(features, dtype)}
    columns = ("num_boxes", "features")
    return TsvRow(columns, row(cells).rstrip(b"\n")).features("features", count)


@pytest.mark.parametrize("step", [1, 1e-3, 100])
@pytest.mark.parametrize("made_from", ["f8", "f4", "f2", "i8"])
def test_float64_features_are_recognized_whatever_they_are_made_from(made_from, step):
    step = max(step, 1) if made_from == "i8" else step
    features = np.random.default_rng(0).uniform(0, 3, [4, 64]) * step
    features[:, ::2] = 0  # as many are, behind a ReLU
    features[:, 3] = 1
    features = features.astype(made_from)
    first_zero = features.copy()
    first_zero[0] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (features, first_zero):
            np.testing.assert_array_equal(features_of(given, "<f8"), given)


@pytest.mark.parametrize("size", [63, 64, 126, 1024])
@pytest.mark.parametrize("kind", ["ReLU", "normal", "small", "large", "whole", "sparse"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
@pytest.mark.parametrize("made_from", ["f8", "f4", "f2"])
def test_the_type_of_features_is_told_by_their_values(made_from, dtype, kind, size):
    random = np.random.default_rng(size)
    normal = random.normal(0, 1, [36, size])
    features = {
        "ReLU": normal.clip(0),
        "normal": normal,
        "small": normal / 50,
        "large": np.abs(normal) * 300,
        "whole": normal.clip(0).round(),
        "sparse": np.where(random.uniform(size=normal.shape) < 0.9, 0, normal),
    }[kind]
    features = features.astype(made_from).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = features_of(features, dtype)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, features)


@pytest.mark.parametrize("dtype", ["<i2", "<i4", "<i8"])
@pytest.mark.parametrize("size", [3, 16, 2048])
def test_features_of_integers_are_refused(dtype, size):
    features = np.random.default_rng(0).integers(-9 if size > 3 else 0, 99, [4, size])
    with pytest.raises(RegionError, match="features are integers; they must be float32"):
        features_of(features, dtype)


def test_too_few_features_to_tell_their_type_are_refused():
    features = np.zeros([2, 8])
    features[:, 1::3] = 1.5
    for dtype in ("<f2", "<f8"):
        with pytest.raises(RegionError, match="too few to tell float32 from other types"):
            features_of(features, dtype)
    np.testing.assert_array_equal(features_of(features, "<f4"), features)


@pytest.mark.parametrize("lower", [0, 1e-20, 1, np.inf, np.nan])
def test_float32_features_are_read_as_they_are(lower):
    features = np.random.default_rng(0).uniform(0, 3, [4, 64]).astype(np.float32)
    features[:2, :8:2] = lower
    features[2] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (features, features[2:], features[2:3], features[:, 1:]):
            read = features_of(given, "<f4")
            assert read.dtype == np.float32
            np.testing.assert_array_equal(read, given)


@pytest.mark.parametrize("cells, reason", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_reported_and_its_neighbors_are_read(tmp_path, cells, reason):
    broken = row({**CELLS, **cells})
    content = row(lxmert_cells(IMAGES[1])) + broken + row(lxmert_cells(IMAGES[2]))
    [piece] = LxmertTsv().pieces(input_file(written(tmp_path, content)))
    before, problem, after = LxmertTsv().read(piece)
    IMAGES[1].check(before.image)
    IMAGES[2].check(after.image)
    assert problem.reason.startswith(reason)
    assert (before.line, problem.line, after.line) == (1, 2, 3)
    assert problem.size == len(broken)
    assert problem.id == cells.get("img_id", b"image-0").decode(errors="replace")


@pytest.mark.parametrize("reader, cells", FORMATS)
@pytest.mark.parametrize("change", [1, -1])
def test_another_number_of_columns_is_reported(tmp_path, reader, cells, change):
    other = b"\t".join((list(cells(FIRST).values()) * 2)[: len(reader.columns) + change])
    for end in (b"\n", b""):
        content = row(cells(IMAGES[1])) + other + end
        read, problem = read_all(reader(), written(tmp_path, content))
        cut = change < 0 and not end
        assert problem.reason == (
            "the file ends in the middle of the row"
            if cut
            else f"the row does not have {len(reader.columns)} columns separated by tabs"
        )


@pytest.mark.parametrize("reader, cells", FORMATS)
def test_a_file_that_ends_in_a_row_loses_that_row_alone(tmp_path, reader, cells):
    content = b"".join(row(cells(image)) for image in (IMAGES[0], IMAGES[1]))
    first = len(row(cells(IMAGES[0])))
    for end in range(first + 1, len(content) - 1):
        read = read_all(reader(), written(tmp_path, content[:end]))
        assert read[0].id == "image-0"
        assert reasons(read) == ["the file ends in the middle of the row"]


def test_a_row_that_is_too_long_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(text_rows, "MAX_LINE_BYTES", 2000)
    content = row(CELLS) + row({**CELLS, "features": b"A" * 3000}) + row(CELLS)
    _, problem, _ = read_all(LxmertTsv(), written(tmp_path, content))
    assert problem.reason == "the row is longer than 64 MB"
    assert problem.id == "image-0"


@pytest.mark.parametrize("content", [b"{}", b"\x89HDF\r\n" * 99, b"[1, 2]\n[3]\n"])
def test_files_that_are_not_tables_are_refused(tmp_path, content):
    with pytest.raises(InputError, match=r"regions.tsv: not text with columns"):
        read_all(LxmertTsv(), written(tmp_path, content))


@pytest.mark.parametrize("name", ["regions.tsv", "regions.tsv.gz"])
def test_an_empty_file_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"") if name.endswith(".gz") else b"")
    for read in (detect_format, LxmertTsv().pieces):
        with pytest.raises(InputError, match=rf"{name}: the file is empty$"):
            read(input_file(path))
    header = "\t".join(LxmertTsv.columns).encode() + b"\n\n"
    path.write_bytes(gzip.compress(header) if name.endswith(".gz") else header)
    with pytest.raises(InputError, match=rf"{name}: the file has a header and no rows$"):
        LxmertTsv().pieces(input_file(path))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_named(tmp_path, encoding):
    text = b"".join(row(lxmert_cells(image)) for image in IMAGES).decode()
    path = written(tmp_path, text.encode(encoding))
    with pytest.raises(
        InputError, match=r"regions\.tsv: looks like UTF-16 without a byte order mark"
    ):
        LxmertTsv().pieces(input_file(path))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"# "])
def test_a_header_with_other_names_is_refused(tmp_path, mark):
    content = mark + b"image_id\timage_w\timage_h\tcount\tboxes\tfeatures\n"
    path = written(tmp_path, content + row(bottom_up_cells(FIRST)))
    assert detect_format(input_file(path)) == "bottom_up_tsv"
    expected = r"the header has the columns .*, count, .*; bottom_up_tsv has .*, num_boxes, "
    with pytest.raises(InputError, match=expected):
        BottomUpTsv().pieces(input_file(path))
    written(tmp_path, b"id\tboxes\tfeatures\n" + b"a\tA\tA\n" * 9)
    with pytest.raises(
        InputError, match=r"columns in the first line: 3 \(id, boxes, features\); LXMERT's TSV has"
    ):
        detect_format(input_file(path))


@pytest.mark.parametrize("rows", [(0, None), (1, None), (2, 5)])
@pytest.mark.parametrize("piece_bytes", [100, 3000, 10**6])
def test_lines_count_from_the_start_of_the_file(tmp_path, monkeypatch, piece_bytes, rows):
    header = "\t".join(LxmertTsv.columns).encode()
    lines = [header, b"", *[row(lxmert_cells(image), b"") for image in IMAGES[:2]], *[b" "] * 100]
    # Some pieces have blank lines alone.
    lines += [row(lxmert_cells(image), b"") for image in IMAGES[2:]]
    lines += [b"", b"broken"]
    numbers = [n for n, line in enumerate(lines, start=1) if line.strip() and n > 1]
    path = written(tmp_path, b"\r\n".join(lines))
    monkeypatch.setattr(text_rows, "PIECE_BYTES", piece_bytes)
    before, found = 0, []
    for piece in LxmertTsv().pieces(input_file(path), rows):
        reading = Returned(LxmertTsv().read(piece))
        found += [piece.lines_before + before + item.line for item in reading]
        before += reading.value
    assert found == numbers[slice(*rows)]


def test_a_first_line_of_another_kind_is_one_problem(tmp_path):
    content = b"# made by hand\n" + row(CELLS)
    problem, image = read_all(LxmertTsv(), written(tmp_path, content))
    assert (problem.id, image.id) == ("", "image-0")


@pytest.mark.parametrize("reader, cells", FORMATS)
def test_quotes_headers_and_bytes_of_python(tmp_path, reader, cells):
    """As csv.writer(quoting=QUOTE_ALL), pandas and Python 3's str(b64encode(...)) write them."""
    names = list(reader.columns)[::-1]
    content = "\t".join(names).encode() + b"\n"
    for image in IMAGES:
        values = cells(image)
        for name in ("boxes", "features"):
            values[name] = b"b'" + values[name] + b"'"
        content += row({name: b'"' + values[name] + b'"' for name in names}, b"\r\n")
    read = read_all(reader(), written(tmp_path, content))
    labels = reader is LxmertTsv
    for image, item in zip(IMAGES, read, strict=True):
        image.check(item, object_labels=labels, attribute_labels=labels)
    quoted = content.replace(b"image_id", b'"image_id"').replace(b"img_id", b'"img_id"')
    assert len(read_all(reader(), written(tmp_path, quoted))) == len(IMAGES)


def test_the_header_is_no_row(tmp_path):
    header = "\t".join(LxmertTsv.columns).encode() + b"\n"
    content = header + b"".join(row(lxmert_cells(image)) for image in IMAGES)
    path = written(tmp_path, content)
    assert [image.id for image in read_all(LxmertTsv(), path, (0, 2))] == ["image-0", "image-1"]
    # Only the first line may be one.
    *_, problem = read_all(LxmertTsv(), written(tmp_path, content + header))
    assert problem.reason == "num_boxes is not a whole number of at least 1"


def test_quotes_in_an_id(tmp_path):
    content = row({**CELLS, "img_id": b'"a ""b"" c"'}) + row({**CELLS, "img_id": b'a"b'})
    assert [image.id for image in read_all(LxmertTsv(), written(tmp_path, content))] == [
        'a "b" c',
        'a"b',
    ]


def packed(folder, content: bytes, kind: str):
    if kind == "gz":
        path = folder / "regions.tsv.gz"
        path.write_bytes(gzip.compress(content))
    else:
        path = folder / "regions.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("train/regions.tsv", content)
    return path


def read_packed(path, rows=(0, None)) -> list:
    [file] = find_inputs([str(path)])
    [piece] = LxmertTsv().pieces(file, rows)
    return list(LxmertTsv().read(piece))


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_compressed_files_are_read_as_they_are(tmp_path, kind):
    path = packed(tmp_path, b"".join(row(lxmert_cells(image)) for image in IMAGES), kind)
    for image, item in zip(IMAGES, read_packed(path), strict=True):
        image.check(item.image)
    chosen = read_packed(path, (1, 3))
    assert [(item.line, item.image.id) for item in chosen] == [(2, "image-1"), (3, "image-2")]


DAMAGED = "the file is damaged or ends too early from here on"


def test_of_a_compressed_file_that_ends_too_early_the_rows_before_are_read(tmp_path):
    images = [small(f"image-{i}", 36, 64) for i in range(30)]
    path = packed(tmp_path, b"".join(row(lxmert_cells(image)) for image in images), "gz")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    *good, problem = read_packed(path)
    left = zlib.decompressobj(wbits=31).decompress(path.read_bytes())
    assert len(good) == left.count(b"\n")
    for image, item in zip(images, good):
        image.check(item.image)
    assert problem == ReadError(len(good) + 1, "", DAMAGED)


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_of_a_compressed_file_that_is_damaged_the_rows_before_are_read(tmp_path, kind):
    images = [small(f"image-{i}", 36, 64) for i in range(30)]
    path = packed(tmp_path, b"".join(row(lxmert_cells(image)) for image in images), kind)
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + 200] = bytes(200)
    path.write_bytes(content)
    *items, problem = read_packed(path)
    # What follows may decompress to nonsense, which is told of row by row.
    good = list(itertools.takewhile(lambda item: isinstance(item, ReadImage), items))
    assert 5 <= len(good) <= 15
    for image, item in zip(images, good):
        image.check(item.image)
    assert problem == ReadError(len(items) + 1, "", DAMAGED)


edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 3),
        st.sampled_from([b"", b"\n", b"\t", b"\r", b"=", b"A", b"\x00", b"\xff", b"-", b"9", b"/"]),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("reader, cells", FORMATS)
@given(edits, st.integers(50, 5000))
def test_each_row_of_a_damaged_file_is_an_image_or_an_error(
    folder, reader, cells, changes, piece_bytes
):
    content = bytearray().join(row(cells(small(f"i{n}", 2, 4))) for n in range(5))
    for where, removed, added in changes:
        start = int(where * len(content))
        content[start : start + removed] = added
    rows = [line for line in re.split(rb"\r?\r?\n|\r", content) if line.strip()]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        patch.setattr(text_rows, "PIECE_BYTES", piece_bytes)
        read = read_all(reader(), written(folder, content))
    assert len(read) == len(rows)
    untouched = {row(cells(small(f"i{n}", 2, 4))).strip() for n in range(5)} & set(map(bytes, rows))
    ids = [item.id for item in read if not isinstance(item, ReadError)]
    assert {line.split(b"\t")[0].decode() for line in untouched} <= set(ids)


@pytest.mark.parametrize("form", ["plain", "quotes", "header"])
def test_arrays_that_are_broken_into_lines_are_one_clear_error(tmp_path, form):
    lines = {b"boxes": base64.encodebytes, b"features": base64.encodebytes}
    cells = lxmert_cells(small("image", 36, 16))
    broken = {
        name: lines[name.encode()](base64.b64decode(cell)) if name.encode() in lines else cell
        for name, cell in cells.items()
    }
    if form != "plain":
        broken = {name: b'"%s"' % cell for name, cell in broken.items()}
    header = "\t".join(LxmertTsv.columns).encode() + b"\r\n" if form == "header" else b""
    path = written(tmp_path, header + row(broken, b"\r\n") * 2)
    with pytest.raises(InputError, match=r"regions\.tsv: .*line breaks; write a row in one line"):
        LxmertTsv().pieces(input_file(path))
    if form != "header":
        with pytest.raises(InputError, match=r"regions\.tsv: .*line breaks; write a row in one"):
            detect_format(input_file(path))


def test_a_first_row_that_alone_is_broken_costs_no_other(tmp_path):
    text = row(CELLS)
    path = written(tmp_path, text[:40] + b"\n" + text[40:] + text.replace(b"image-0", b"image-9"))
    *errors, image = read_all(LxmertTsv(), path)
    assert image.id == "image-9"
    assert len(errors) == 2


@pytest.mark.parametrize("reader, cells", FORMATS)
def test_blank_lines_may_come_before_the_header(tmp_path, reader, cells):
    columns = reader.columns[::-1]
    rows = [[cells(image)[name] for name in columns] for image in IMAGES]
    lines = [b" ", b"", "\t".join(columns).encode(), *(b"\t".join(line) for line in rows)]
    path = written(tmp_path, b"\r\n".join(lines))
    assert detect_format(input_file(path)) == reader.name
    found = read_all(reader(), path)
    assert [image.id for image in found] == [image.image_id for image in IMAGES]
    assert reader().pieces(input_file(path), (1, 2))[0].start > 0


@pytest.mark.parametrize(
    ("pack", "message"),
    [
        (gzip.compress, "compressed with gzip; decompress it, or let its name end with .gz"),
        (bz2.compress, "compressed with bzip2; decompress it"),
        (lambda data: data.decode().encode("utf-32"), "UTF-32 text; save the file as UTF-8"),
    ],
)
def test_a_file_that_is_no_text_is_named_as_what_it_is(tmp_path, pack, message):
    path = written(tmp_path, pack(row(CELLS) * 2))
    for read in (detect_format, LxmertTsv().pieces):
        with pytest.raises(InputError, match=rf"regions\.tsv: {re.escape(message)}$"):
            read(input_file(path))


def test_a_gzipped_file_may_have_a_name_in_capitals(tmp_path):
    path = tmp_path / "REGIONS.TSV.GZ"
    path.write_bytes(gzip.compress(row(CELLS)))
    [file] = find_inputs([str(path)])
    assert detect_format(file) == "lxmert_tsv"
    [image] = read_all(LxmertTsv(), path)
    assert image.id == FIRST.image_id


def test_the_format_of_a_file_that_is_soon_cut_is_told_by_its_first_rows(tmp_path):
    path = tmp_path / "regions.tsv.gz"
    path.write_bytes(gzip.compress(row(CELLS) * 3, compresslevel=0)[:-10])
    assert detect_format(input_file(path)) == "lxmert_tsv"
