"""`--detector` of `lxmert ask`, `rank` and `attention`: photographs in, answers out."""

import os
import pathlib
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lxmert_tf import LxmertPretrainer, Predictor, make_extractor, read_image
from lxmert_tf.errors import InputError
from lxmert_tf.regions.grid import GridExtractor
from lxmert_tf.serving.ranker import Ranker
from lxmert_tf.visualization.attention_maps import attention_maps
from lxmert_tf.visualization.attention_picture import draw_attention
from tests.lxmert_tf.detector.samples import pictures as noise
from tests.lxmert_tf.samples import one_line

QUESTION = "is there a blue triangle in the image?"


@pytest.fixture(scope="module")
def extractor(detector):
    """The detector, which is loaded once for all tests."""
    return make_extractor({"name": "detector", "preset": detector})


@pytest.fixture(scope="module")
def model(tiny, tmp_path_factory):
    """A SavedModel that names no extractor, as one of another project."""
    directory = tmp_path_factory.mktemp("model") / "saved"
    shutil.copytree(tiny.saved_model, directory)
    (directory / "assets.extra" / "extractor.json").unlink()
    return directory


@pytest.fixture(scope="module")
def predictor(model, extractor):
    return Predictor.from_directory(model, extractor)


@pytest.mark.slow
def test_a_photograph_is_answered(lxmert, predictor, model, detector, picture):
    argv = ("--model", model, "--detector", detector, "--image", picture, "--top", 5, QUESTION)
    outcome = lxmert("ask", *argv)
    assert (outcome.status, outcome.stderr) == (0, "")
    [answers] = predictor.answer(read_image(picture), [QUESTION])
    expected = [f"  {score:6.1%}  {answer}" for answer, score in answers]
    assert outcome.stdout.splitlines() == [QUESTION, *expected]
    assert lxmert("ask", *argv, "--flavor", "caffe").stdout != outcome.stdout


@pytest.mark.slow
def test_the_detector_takes_the_place_of_the_stored_extractor(predictor, tiny, extractor, pictures):
    image = read_image(pictures[0])
    [expected] = predictor.answer(image, [QUESTION])
    for directory in (tiny.saved_model, tiny.preset):
        [found] = Predictor.from_directory(directory, extractor).answer(image, [QUESTION])
        assert [answer for answer, _ in found] == [answer for answer, _ in expected]
        scores = [[score for _, score in answers] for answers in (found, expected)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-5)
    assert Predictor.from_directory(tiny.saved_model).answer(image, [QUESTION]) != [expected]


@pytest.mark.slow
def test_sentences_are_ranked_by_the_detectors_regions(
    lxmert, tiny, detector, extractor, picture, tmp_path_factory
):
    preset = tmp_path_factory.mktemp("rank") / "preset"
    LxmertPretrainer.from_preset(tiny.preset).save_preset(preset)
    sentences = ["a blue triangle", "there is no circle"]
    argv = ("--model", preset, "--image", picture, "--detector", detector, *sentences)
    outcome = lxmert("rank", *argv)
    assert (outcome.status, outcome.stderr) == (0, "")
    ranked = Ranker(preset, extractor).rank(read_image(picture), sentences)
    assert outcome.stdout.splitlines() == [f"{p:6.1%}  {sentence}" for sentence, p in ranked]


@pytest.mark.slow
def test_a_drawing_names_what_the_detector_finds(
    lxmert, tiny, detector, extractor, picture, tmp_path
):
    argv = ("--model", tiny.preset, "--image", picture, "--detector", detector)
    outcome = lxmert("attention", *argv, "--output", "a.png", "--kind", "vision", QUESTION)
    assert outcome == (0, "a.png\n", "")
    image = read_image(picture)
    maps = attention_maps(tiny.preset, image, QUESTION, extractor)
    ids = zip(maps.regions.attribute_ids, maps.regions.object_ids)
    assert maps.region_names == [f"nice {attribute} thing {thing}" for attribute, thing in ids]
    draw_attention(maps, image, QUESTION, tmp_path / "b.png", ["vision"])
    # The detector ran in two processes, whose sums may differ in the last bits.
    drawn, expected = (read_image(tmp_path / name).astype(int) for name in ("a.png", "b.png"))
    assert drawn.shape == expected.shape
    assert np.mean(np.abs(drawn - expected) > 16) < 1e-3


def test_a_photograph_is_seen_as_its_camera_was_held(predictor, tmp_path):
    [pixels] = noise((40, 60))
    exif = Image.Exif()
    # To be turned by 90 degrees to the right.
    exif[0x0112] = 6
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "upright.png")
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "lying.png")
    turned, upright, lying = (
        predictor.answer(read_image(tmp_path / f"{name}.png"), [QUESTION])
        for name in ("turned", "upright", "lying")
    )
    assert turned == upright != lying


def answer_or_reason(predictor, image):
    """Return the answers, or the line that says why there are none."""
    try:
        [answers] = predictor.answer(image, [QUESTION])
    except InputError as error:
        assert str(error).startswith("no regions were found in the image")
        return str(error)
    assert np.isfinite([score for _, score in answers]).all()
    return answers


def saved(suffix, mode="RGB", size=(50, 40), **options):
    """Return a function that writes a picture."""

    def write(folder):
        [pixels] = noise((size[1], size[0]))
        picture = Image.fromarray(pixels).convert(mode)
        picture.save(folder / f"picture.{suffix}", **options)
        return folder / f"picture.{suffix}"

    return write


def sixteen_bits(folder):
    values = np.arange(2000, dtype=np.uint16).reshape(40, 50) * 30
    Image.fromarray(values).save(folder / "picture.png")
    return folder / "picture.png"


def animated(folder):
    frames = [Image.fromarray(pixels) for pixels in noise((40, 50), (40, 50))]
    frames[0].save(folder / "picture.gif", save_all=True, append_images=frames[1:])
    return folder / "picture.gif"


def holding(content):
    """Return a function that writes a file of some bytes."""

    def write(folder):
        (folder / "picture.png").write_bytes(content)
        return folder / "picture.png"

    return write


def bomb() -> bytes:
    """Return a PNG of 20,000 x 20,000 pixels, which says so in a few bytes."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0), b"IDAT": b""}
    chunks[b"IDAT"] = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )


ANSWERED = {
    "cmyk": saved("jpg", "CMYK"),
    "gray": saved("png", "L"),
    "one bit": saved("png", "1"),
    "palette": saved("png", "P"),
    "transparent": saved("png", "RGBA"),
    "sixteen bits": sixteen_bits,
    "animated": animated,
}
REFUSED = {
    "bomb": (holding(bomb()), "the image is too large; at most 89 megapixels"),
    "text": (holding(b"a blue circle\n"), "not an image"),
    "cut": (holding(bomb()[:60]), "the image is too large"),
    "empty": (holding(b""), "the file is empty"),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_pictures_of_every_kind_are_answered(predictor, tmp_path, name):
    [answers] = predictor.answer(read_image(ANSWERED[name](tmp_path)), [QUESTION])
    assert np.isfinite([score for _, score in answers]).all()


@pytest.mark.parametrize("size", [(1, 12_000), (1, 1)])
def test_the_thinnest_pictures_are_answered(predictor, tmp_path, size):
    image = read_image(saved("png", size=size)(tmp_path))
    [answers] = predictor.answer(image, [QUESTION])
    assert np.isfinite([score for _, score in answers]).all()


def test_a_picture_in_which_nothing_is_found_is_refused(predictor, tmp_path):
    image = read_image(saved("png", size=(12_000, 1))(tmp_path))
    with pytest.raises(InputError) as caught:
        predictor.answer(image, [QUESTION])
    assert one_line(caught).startswith("no regions were found in the image")


@pytest.mark.skipif("LXMERT_CASES" not in os.environ, reason="needs the folder LXMERT_CASES")
def test_pictures_that_failed_elsewhere_are_answered_or_refused(predictor):
    paths = sorted(pathlib.Path(os.environ["LXMERT_CASES"]).rglob("*.png"))
    for path in paths:
        try:
            image = read_image(path)
        except InputError as error:
            assert path.name.startswith("._"), error
        else:
            assert answer_or_reason(predictor, image)
    assert paths


def test_a_picture_without_regions_is_refused(refused, tiny, detector, tmp_path):
    # The flavor "caffe" drops what is smaller than 16 pixels.
    path = saved("png", size=(300, 1))(tmp_path)
    argv = ["--model", tiny.preset, "--detector", detector, "--flavor", "caffe", "--image", path]
    assert "no regions were found in the image" in refused("ask", *argv, QUESTION)


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_no_pictures_are_refused(refused, tiny, detector, tmp_path, name):
    write, message = REFUSED[name]
    path = write(tmp_path)
    line = refused("ask", "--model", tiny.preset, "--detector", detector, "--image", path, QUESTION)
    assert f"{path}: {message}" in line


@pytest.mark.parametrize("form", ["preset", "saved_model"])
def test_an_extractor_of_other_features_is_refused(tiny, form):
    with pytest.raises(InputError) as raised:
        Predictor.from_directory(getattr(tiny, form), GridExtractor())
    expected = "the model reads 64 features per region, but the extractor 'grid' gives 256"
    assert one_line(raised) == f"{getattr(tiny, form)}: {expected}"


def test_a_model_is_no_detector_and_a_detector_is_no_model(refused, tiny, detector, picture):
    rest = ("--image", picture, QUESTION)
    line = refused("ask", "--model", tiny.preset, "--detector", tiny.preset, *rest)
    assert f"{tiny.preset}: a preset of LxmertAnswerClassifier, not of a detector" in line
    line = refused("ask", "--model", tiny.preset, "--detector", tiny.saved_model, *rest)
    assert f"{tiny.saved_model}: not a preset of a detector" in line
    for command in ("ask", "rank"):
        line = refused(command, "--model", detector, "--detector", detector, *rest)
        assert f"{detector}: a preset of a detector, which finds regions" in line


def test_options_that_contradict_each_other_are_refused(refused, tiny, detector, picture):
    command = ("ask", "--model", tiny.preset, "--image", picture, QUESTION)
    assert "--flavor requires --detector" in refused(*command, "--flavor", "hf")
    argv = ("--endpoint", "http://127.0.0.1:1", "--extractor", "e.json", "--detector", detector)
    line = refused(*command, *argv)
    assert "--extractor and --detector both name an extractor; give one of them" in line


def test_a_missing_detector_is_named(refused, tiny, picture, tmp_path):
    argv = ("--detector", tmp_path / "none", "--image", picture, QUESTION)
    line = refused("ask", "--model", tiny.preset, *argv)
    assert f"preset not found: {tmp_path / 'none'}" in line
