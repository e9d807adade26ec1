"""Extraction and ingestion with the detector give the regions of `Detector.detect`."""

import functools
import pathlib
import shutil

import pytest

from lxmert_tf.detector.detector import Detector
from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import read_image
from pipeline.extract.job import ExtractConfig, run_extract
from pipeline.extract.parts import find_pictures, split_into_parts
from tests.lxmert_tf.detector.samples import CONFIG, randomize
from tests.pipeline.extract.pictures import assert_same_regions, draw, ingested

SIZES = [(64, 48), (33, 70)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """A folder with a preset and pictures of several sizes."""
    folder = tmp_path_factory.mktemp("detector")
    detector = Detector(CONFIG)
    randomize(detector)
    detector.save_preset(folder / "preset")
    for number, (width, height) in enumerate(SIZES):
        draw(folder / "photos" / f"p{number:02}.png", width, height, seed=number)
    return folder


@functools.lru_cache(maxsize=2)
def expected(folder: pathlib.Path, flavor: str) -> dict:
    detector = Detector.from_preset(folder / "preset", flavor=flavor)
    paths = sorted((folder / "photos").iterdir())
    return {path.stem: detector.detect([read_image(path)])[0] for path in paths}


def extractor(folder, flavor: str) -> dict:
    return {"name": "detector", "preset": str(folder / "preset"), "flavor": flavor}


@pytest.mark.parametrize(
    ("name", "flavor"),
    [
        pytest.param("out.tsv", "caffe", marks=pytest.mark.slow),
        pytest.param("out", "hf", marks=pytest.mark.slow),
    ],
)
def test_records_of_the_output_have_the_regions_of_the_detector(folder, tmp_path, name, flavor):
    config = ExtractConfig((str(folder / "photos"),), extractor(folder, flavor))
    assert run_extract(config, tmp_path / name)["images"]["written"] == len(SIZES)
    pattern = f"{name}/*" if name == "out" else name
    images = ingested(tmp_path / pattern, tmp_path / "ingested")
    assert images.keys() == expected(folder, flavor).keys()
    for image_id, regions in expected(folder, flavor).items():
        assert_same_regions(images[image_id].regions, regions)


@pytest.mark.slow
def test_pictures_become_records_without_a_region_file(folder, tmp_path):
    images = ingested(
        folder / "photos" / "*.png", tmp_path / "ingested", extractor=extractor(folder, "caffe")
    )
    assert images.keys() == expected(folder, "caffe").keys()
    for image_id, regions in expected(folder, "caffe").items():
        assert_same_regions(images[image_id].regions, regions)


def test_other_weights_in_the_preset_are_another_extraction(folder, tmp_path):
    preset = shutil.copytree(folder / "preset", tmp_path / "preset")
    pictures, _ = find_pictures([str(folder / "photos")])

    def keys(flavor="hf"):
        return [part.key for part in split_into_parts(pictures, extractor(tmp_path, flavor), 1)]

    before = keys()
    assert before == keys() != keys("caffe")
    (preset / "weights.safetensors").write_bytes(b"other weights")
    assert keys() != before


def test_a_preset_that_is_missing_is_refused_and_leaves_nothing(folder, tmp_path):
    config = ExtractConfig((str(folder / "photos"),), extractor(tmp_path / "no", "hf"))
    with pytest.raises(InputError, match="no/preset"):
        run_extract(config, tmp_path / "out.tsv")
    assert not list(tmp_path.iterdir())
