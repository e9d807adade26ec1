"""Annotations and region files in every encoding and with every line end."""

import gzip
import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.files import find_inputs
from pipeline.ingest.parsers import text_rows
from pipeline.ingest.readers.gqa_hdf5 import GqaHdf5
from pipeline.ingest.readers.region_tsv import BottomUpTsv, LxmertTsv
from pipeline.ingest.registry import detect_format
from tests.lxmert_tf.text_forms import FORMS, saved
from tests.pipeline.ingest import test_gqa_hdf5
from tests.pipeline.ingest.annotations import BY_LINE, FORMATS, content_of, encode, read, write
from tests.pipeline.ingest.detections import small
from tests.pipeline.ingest.reading import input_file, read_all
from tests.pipeline.ingest.tsv_rows import bottom_up_cells, lxmert_cells, row

IMAGES = [small(f"café-{number}", count=2, size=4) for number in range(5)]
TSV = {
    "lxmert_tsv": (LxmertTsv, lxmert_cells),
    "bottom_up_tsv": (BottomUpTsv, bottom_up_cells),
}


@pytest.mark.parametrize("name", FORMATS)
def test_annotations_are_read_alike_from_every_form(tmp_path, name):
    data = encode(name, content_of(name))
    text = data.decode() if name in BY_LINE else json.dumps(json.loads(data), indent=1)
    reader = FORMATS[name][0]()
    expected = read(reader, write(name, tmp_path, data))
    for form in FORMS:
        assert read(reader, write(name, tmp_path, saved(text, form))) == expected, form


def test_lines_of_joined_files_with_marks(tmp_path):
    reader = FORMATS["json_lines"][0]()
    data = encode("json_lines", content_of("json_lines"))
    path = write("json_lines", tmp_path, data.replace(b'\n{"image"', b'\n\xef\xbb\xbf{"image"'))
    assert len(read(reader, path)) == 3
    assert read(reader, path) == read(reader, write("json_lines", tmp_path, data))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tsv")


@pytest.mark.parametrize("name", TSV)
@settings(max_examples=40)
@given(
    form=st.sampled_from(FORMS),
    piece=st.integers(1, 900),
    block=st.integers(1, 50),
    is_headed=st.booleans(),
    blank=st.booleans(),
)
def test_regions_are_read_alike_from_every_form(folder, name, form, piece, block, is_headed, blank):
    reader, cells = TSV[name]
    text = b"".join(row(cells(image)) + b"\n" * blank for image in IMAGES).decode()
    header = "\t".join(reader.columns) + "\n"
    path = folder / "regions.tsv"
    path.write_bytes(saved(header * is_headed + text, form))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_rows, "PIECE_BYTES", piece)
        patch.setattr(text_rows, "BLOCK_BYTES", block)
        patch.setattr(text_rows, "COMPRESSED_BLOCK_BYTES", block)
        found = read_all(reader(), path)
        assert [image.id for image in read_all(reader(), path, (1, 3))] == ["café-1", "café-2"]
    for image, item in zip(IMAGES, found, strict=True):
        image.check(item, **({} if name == "lxmert_tsv" else NO_LABELS))
    assert detect_format(input_file(path)) == name


NO_LABELS = {"object_labels": False, "attribute_labels": False}


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_compressed_regions_in_utf16(tmp_path, kind):
    text = b"".join(row(lxmert_cells(image)) for image in IMAGES).decode()
    data = saved(text, ("utf-16-le", "\r\n"))
    path = tmp_path / f"regions.tsv.{kind}"
    if kind == "gz":
        path.write_bytes(gzip.compress(data))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("regions.tsv", data)
    [file] = find_inputs([str(path)])
    [piece] = LxmertTsv().pieces(file)
    assert [item.image.id for item in LxmertTsv().read(piece)] == [
        image.image_id for image in IMAGES
    ]


def test_the_info_file_of_gqa(tmp_path):
    images = [small("a"), small("b")]
    path = test_gqa_hdf5.write(tmp_path, images)
    info = tmp_path / "gqa_objects_info.json"
    text = info.read_text()
    for form in FORMS:
        info.write_bytes(saved(text, form))
        assert [image.id for image in read_all(GqaHdf5(), path)] == ["a", "b"]
