import pickle
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from lxmert_tf.errors import InputError
from lxmert_tf.regions.grid import GridExtractor
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.registry import EXTRACTORS, make_extractor
from pipeline.ingest.files import find_inputs
from pipeline.ingest.interfaces import ReadError
from pipeline.ingest.readers.pictures import Pictures, cached_extractor, fresh_extractors
from tests.pipeline.ingest.reading import input_file, read_all

GRID = {"name": "grid"}


def draw(path, width=40, height=30):
    pixels = np.random.default_rng(0).integers(0, 256, [height, width, 3], np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_makes_regions_as_the_extractor_does(tmp_path, ending):
    path = draw(tmp_path / f"COCO_train2014_000000000009.{ending}")
    [image] = read_all(Pictures(GRID), path)
    assert (image.id, image.height, image.width) == ("COCO_train2014_000000000009", 30, 40)
    expected = make_extractor(GRID).extract(read_image(path))
    np.testing.assert_array_equal(image.regions.features, expected.features)
    np.testing.assert_array_equal(image.regions.boxes, expected.boxes)


def test_a_picture_of_a_folder_that_cannot_be_read_is_a_problem(tmp_path):
    draw(tmp_path / "a.png")
    whole = draw(tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.jpg").write_text("no picture")
    draw(tmp_path / "d.png")
    reader = Pictures(GRID)
    files = find_inputs([str(tmp_path / "*")])
    items = [item for file in files for piece in reader.pieces(file) for item in reader.read(piece)]
    assert [items[0].image.id, items[3].image.id] == ["a", "d"]
    assert items[1] == ReadError(1, "b", "the file is cut short", len(whole) // 2)
    assert items[2] == ReadError(1, "c", "not an image in a known format", 10)


def test_pictures_of_every_kind_are_read_or_rejected_with_the_cause(tmp_path):
    # A resolution of 1/0, as some cameras write it, and a photo that lies on its side.
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, TiffImagePlugin.IFDRational(1, 0)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    gray = np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)
    Image.fromarray(gray).save(tmp_path / "b.tiff")
    Image.fromarray(gray * 2).save(tmp_path / "c.tiff")
    files = find_inputs([str(tmp_path / "*")])
    reader = Pictures(GRID)
    first, second, third = (
        item for file in files for piece in reader.pieces(file) for item in reader.read(piece)
    )
    assert (first.image.height, first.image.width) == (40, 30)
    assert second.image.regions.features.std() > 0.1
    reason = "32-bit pixels must be in 0..1, or whole numbers in 0..255 or 0..65535"
    assert (third.id, third.reason) == ("c", reason)


def test_a_picture_that_went_away_is_a_problem(tmp_path):
    path = draw(tmp_path / "a.png")
    reader = Pictures(GRID)
    [piece] = reader.pieces(input_file(path))
    path.unlink()
    assert list(reader.read(piece)) == [ReadError(1, "a", "the file cannot be opened", piece.size)]


def test_reads_pictures_in_an_archive(tmp_path):
    path = draw(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, "train2014/a.png")
    [file] = find_inputs([str(tmp_path / "all.zip")])
    [piece] = Pictures(GRID).pieces(file)
    [item] = Pictures(GRID).read(piece)
    assert item.image.id == "a"


def test_the_rows_of_a_file_are_its_one_picture(tmp_path):
    path = draw(tmp_path / "a.png")
    assert len(read_all(Pictures(GRID), path, rows=(0, 1))) == 1
    assert read_all(Pictures(GRID), path, rows=(0, 0)) == []
    assert read_all(Pictures(GRID), path, rows=(1, None)) == []


def test_travels_to_workers(tmp_path):
    path = draw(tmp_path / "a.png")
    reader = Pictures(GRID)
    read_all(reader, path)
    [image] = read_all(pickle.loads(pickle.dumps(reader)), path)
    assert image.id == "a"


def test_refuses_an_extractor_that_there_is_not():
    with pytest.raises(InputError, match="unknown extractor 'gird'"):
        Pictures({"name": "gird"})


def test_threads_that_start_together_make_one_extractor(monkeypatch):
    class Slow(GridExtractor):
        def __init__(self):
            time.sleep(0.05)
            super().__init__()

    monkeypatch.setitem(EXTRACTORS, "slow", Slow)
    together = threading.Barrier(4)

    def make(_) -> int:
        together.wait()
        return id(cached_extractor('{"name": "slow"}'))

    with fresh_extractors(), ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(make, range(4)))) == 1
