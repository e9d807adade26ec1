"""The detector as a region extractor: from a config to regions, and what it refuses."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow import keras

from lxmert_tf.detector.detector import Detector
from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import read_image
from lxmert_tf.regions.registry import make_extractor
from tests.lxmert_tf.detector.samples import CONFIG, pictures, write_detector
from tests.lxmert_tf.samples import one_line

OBJECTS = tuple(f"thing {i}" for i in range(CONFIG.num_objects))


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("extractor") / "preset"
    write_detector(directory, object_names=OBJECTS)
    return directory


def config_of(preset, **arguments):
    return {"name": "detector", "preset": str(preset), **arguments}


@pytest.mark.slow
def test_regions_do_not_depend_on_the_dtype_policy(preset):
    [image] = pictures((40, 50))
    expected = make_extractor(config_of(preset)).extract(image)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        found = make_extractor(config_of(preset)).extract(image)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.features, expected.features)


@pytest.mark.parametrize("flavor", [pytest.param(None, marks=pytest.mark.slow), "caffe"])
def test_its_regions_are_the_detectors(preset, flavor):
    extractor = make_extractor(config_of(preset, flavor=flavor))
    detector = Detector.from_preset(preset, flavor=flavor)
    images = pictures((40, 50), (70, 30))
    found = [*extractor.extract_batch(images), extractor.extract(images[0])]
    for regions, expected in zip(found, detector.detect([*images, images[0]]), strict=True):
        for field in dataclasses.fields(regions):
            ours, theirs = (getattr(each, field.name) for each in (regions, expected))
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4, err_msg=field.name)


def test_sizes_and_names_are_known_without_the_weights(preset, tmp_path):
    whole = make_extractor(config_of(preset))
    for file in preset.iterdir():
        if file.name != "weights.safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    extractor = make_extractor(config_of(tmp_path))
    assert extractor.feature_size == whole.feature_size == CONFIG.feature_size
    assert extractor.max_regions == CONFIG.max_regions
    assert (extractor.object_names, extractor.attribute_names) == (OBJECTS, ())
    with pytest.raises(InputError) as raised:
        extractor.extract(pictures((40, 50))[0])
    assert "weights.safetensors" in one_line(raised)


def test_an_extractor_is_made_again_from_its_config(preset):
    extractor = make_extractor(config_of(preset, flavor="caffe"))
    config = extractor.get_config()
    assert config == config_of(preset, flavor="caffe")
    assert make_extractor(config).get_config() == config
    # The flavor is written down even if the preset decided.
    assert make_extractor(config_of(preset)).get_config() == config_of(preset, flavor="hf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "nowhere/detector"}, "preset not found: nowhere/detector"),
        ({"preset": None}, "preset is None; it must be the directory of a detector"),
        ({"flavor": "torch"}, "flavor is 'torch'; it must be 'hf' or 'caffe'"),
        (
            {"flavour": "hf"},
            "extractor 'detector': unknown argument 'flavour'; it takes preset, flavor",
        ),
    ],
)
def test_invalid_configs_are_refused(preset, arguments, message):
    with pytest.raises(InputError) as raised:
        make_extractor({**config_of(preset), **arguments})
    assert message in one_line(raised)


def test_a_preset_must_be_named():
    with pytest.raises(InputError) as raised:
        make_extractor({"name": "detector"})
    assert "extractor 'detector': the argument 'preset' is missing" in one_line(raised)


def test_a_directory_of_something_else_is_refused(tmp_path):
    with pytest.raises(InputError) as raised:
        make_extractor(config_of(tmp_path))
    assert f"{tmp_path}: not a preset of a detector" in one_line(raised)


@pytest.mark.slow
def test_the_network_reads_files_blue_first(preset, tmp_path):
    # Of the size to which it would be resized, so that its pixels are the network's.
    [pixels] = pictures((64, 80))
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    detector = Detector.from_preset(preset)
    sizes = {"image_sizes": tf.constant([[64, 80]]), "scales": tf.ones([1, 2])}

    def features_of(channels):
        images = channels.astype(np.float32) - np.float32(CONFIG.pixel_means)
        return detector({"images": images[np.newaxis], **sizes})["features"][0].numpy()

    found = make_extractor(config_of(preset)).extract(read_image(tmp_path / "picture.png"))
    blue_first, red_first = features_of(pixels[..., ::-1]), features_of(pixels)
    np.testing.assert_allclose(found.features, blue_first[: len(found)], rtol=0, atol=1e-4)
    assert np.abs(red_first - blue_first).max() > 0.01


def test_a_picture_with_room_for_no_region_has_none(preset):
    # The flavor "caffe" drops what is smaller than 16 pixels.
    extractor = make_extractor(config_of(preset, flavor="caffe"))
    empty, filled = extractor.extract_batch(pictures((1, 300), (40, 50)))
    assert (len(empty), empty.features.shape, empty.boxes.shape) == (
        0, (0, CONFIG.feature_size), (0, 4),
    )  # fmt: skip
    assert len(filled) > 0
    assert extractor.extract_batch([]) == []


def test_pictures_of_all_sizes_share_one_graph():
    class Counted(Detector):
        traces = 0

        def call(self, inputs, training=None, mask=None):
            type(self).traces += 1
            return super().call(inputs, training, mask)

    detector = Counted(CONFIG)
    Counted.traces = 0
    for size in ((40, 50), (50, 40), (64, 64), (30, 90)):
        detector.detect(pictures(size))
    detector.detect(pictures((40, 50), (20, 30)))
    assert Counted.traces == 1
