"""Pictures that are found by the ids of images."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from lxmert_tf.errors import InputError
from lxmert_tf.regions.picture_finder import PictureFinder

SHADES = {"a.png": 10, "train/1.png": 20, "val/1.png": 30, "deep/er/b.JPG": 40, "c.d.png": 50}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, shade in SHADES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 2), (shade, shade, shade)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module", params=["folder", "archive"])
def finder(request, folder, tmp_path_factory):
    if request.param == "folder":
        return PictureFinder(folder)
    path = tmp_path_factory.mktemp("archive") / "pictures.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, f"top/{file.relative_to(folder)}")
    return PictureFinder(path)


@pytest.mark.parametrize(
    ("image_id", "shade"),
    [("a", 10), ("a.png", 10), ("train/1", 20), ("val/1", 30), ("er/b", 40), ("c.d", 50)],
)
def test_a_picture_has_the_name_of_its_image(finder, image_id, shade):
    pixels = finder.find(image_id)
    assert pixels.shape == (2, 4, 3)
    np.testing.assert_allclose(pixels, shade, atol=2)


@pytest.mark.parametrize("image_id", ["1", "none", "test/1", "notes", "broken", "../a", ""])
def test_what_is_not_there_or_not_certain_is_not_shown(finder, image_id):
    assert finder.find(image_id) is None


def test_easy_vqa_is_found_by_its_source():
    import easy_vqa

    found = PictureFinder().find("test-3", "easy_vqa")
    with Image.open(easy_vqa.get_test_image_paths()[3]) as picture:
        np.testing.assert_array_equal(found, np.asarray(picture.convert("RGB")))
    for image_id in ("test-99999999", "other-3", "test-x", "3"):
        assert PictureFinder().find(image_id, "easy_vqa") is None
    assert PictureFinder().find("test-3", "vqa") is None


def test_another_place_is_refused(tmp_path):
    with pytest.raises(InputError, match="pictures not found"):
        PictureFinder(tmp_path / "none")
    (tmp_path / "file").write_text("text")
    with pytest.raises(InputError, match="must be a folder of pictures or a zip archive"):
        PictureFinder(tmp_path / "file")
