"""Grid features of keras.applications: the network's own map, averaged over the cells."""

import re

import numpy as np
import pytest
from PIL import Image
from tensorflow import keras

from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import RegionExtractor
from lxmert_tf.regions.keras_applications import (
    OTHER_SIZES,
    USUAL_SIZE,
    KerasApplicationsExtractor,
    average_cells,
)
from lxmert_tf.regions.registry import make_extractor
from tests.lxmert_tf.samples import one_line

# MobileNet's map has a 32nd of the picture's sides.
SIZE = 96
RANDOM = np.random.default_rng(0)
PHOTO = RANDOM.integers(0, 256, [70, 130, 3], np.uint8)


def extractor(**changes) -> KerasApplicationsExtractor:
    arguments = {"backbone": "MobileNet", "weights": None, "cells": 3, "image_size": SIZE}
    return KerasApplicationsExtractor(**{**arguments, **changes})


@pytest.fixture(scope="module")
def network():
    """A network with weights that no test would find by chance."""
    network = keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(SIZE, SIZE, 3)
    )
    # Keras's own initial weights let the picture vanish.
    for variable in network.trainable_variables:
        if "kernel" in variable.name:
            width = 1.5 / np.sqrt(
                np.prod(variable.shape[: 2 if "depthwise" in variable.name else 3])
            )
            variable.assign(RANDOM.normal(scale=width, size=variable.shape))
    return network


@pytest.fixture(scope="module")
def made(network, tmp_path_factory) -> KerasApplicationsExtractor:
    """The extractor of the network's weights."""
    path = str(tmp_path_factory.mktemp("weights") / "mobilenet_notop.h5")
    network.save_weights(path)
    return extractor(weights=path)


@pytest.fixture(scope="module")
def feature_map(network):
    """The network's map of PHOTO, float32 [3, 3, 1024], as Keras documents its use."""
    picture = Image.fromarray(PHOTO).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = keras.applications.mobilenet.preprocess_input(np.asarray(picture, np.float32)[None])
    return network(pixels, training=False).numpy()[0]


def test_features_are_the_map_of_the_network(made, feature_map):
    assert (made.feature_size, made.max_regions) == (1024, 9)
    regions = made.extract(PHOTO)
    assert feature_map.std() > 1e-3
    np.testing.assert_allclose(regions.features, feature_map.reshape(9, 1024), rtol=1e-4, atol=1e-5)
    assert regions.object_ids is None
    # Row by row, as fractions of the picture.
    third = 1 / 3
    np.testing.assert_allclose(regions.boxes[:2], [[0, 0, third, third], [third, 0, 2 / 3, third]])
    np.testing.assert_allclose(regions.boxes[-1], [2 / 3, 2 / 3, 1, 1])


@pytest.mark.parametrize(("cells", "height", "width"), [(1, 3, 2), (2, 3, 3), (4, 3, 7), (6, 7, 7)])
def test_maps_of_any_size_are_averaged_by_area(cells, height, width):
    maps = RANDOM.normal(size=[2, height, width, 5]).astype(np.float32)
    # In pixels of 1/(cells * height) and 1/(cells * width) both the map and the cells are whole.
    fine = maps.repeat(cells, axis=1).repeat(cells, axis=2)
    expected = fine.reshape(2, cells, height, cells, width, 5).mean(axis=(2, 4))
    np.testing.assert_allclose(
        average_cells(maps, cells), expected.reshape(2, -1, 5), rtol=1e-4, atol=1e-6
    )


@pytest.mark.slow
def test_weights_of_the_whole_classifier_are_read(tmp_path):
    keras.utils.set_random_seed(6)
    classifier = keras.applications.MobileNet(weights=None)
    classifier.save_weights(str(tmp_path / "classifier.h5"))
    picture = Image.fromarray(PHOTO).resize((USUAL_SIZE, USUAL_SIZE), Image.Resampling.BILINEAR)
    pixels = keras.applications.mobilenet.preprocess_input(np.asarray(picture, np.float32)[None])
    pooled = next(
        x for x in classifier.layers if isinstance(x, keras.layers.GlobalAveragePooling2D)
    )
    expected = keras.Model(classifier.input, pooled.output)(pixels, training=False)
    made = extractor(weights=str(tmp_path / "classifier.h5"), cells=1, image_size=None)
    np.testing.assert_allclose(
        made.extract(PHOTO).features, np.reshape(expected, [1, 1024]), rtol=1e-4, atol=1e-5
    )


def test_features_do_not_follow_the_policy_of_the_program(made):
    expected = made.extract(PHOTO).features
    usual = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        features = make_extractor(made.get_config()).extract(PHOTO).features
        assert keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    finally:
        keras.mixed_precision.set_global_policy(usual)
    np.testing.assert_array_equal(features, expected)


def test_no_images_have_no_regions():
    assert extractor().extract_batch([]) == []


def test_random_weights_are_always_the_same():
    keras.utils.set_random_seed(1)
    one = extractor().extract(PHOTO)
    keras.utils.set_random_seed(2)
    two = make_extractor(extractor().get_config()).extract(PHOTO)
    np.testing.assert_array_equal(one.features, two.features)
    assert np.isfinite(one.features).all()
    # Different cells look different, and so do pictures.
    assert (one.features.std(axis=0) > 0).sum() > 300


def test_a_batch_gives_what_its_pictures_give_alone(made):
    images = [PHOTO, np.full([1, 1, 3], 9, np.uint8), np.zeros([1, 12_000, 3], np.uint8)]
    for image, regions in zip(images, made.extract_batch(images)):
        np.testing.assert_allclose(
            regions.features, made.extract(image).features, rtol=1e-4, atol=1e-5
        )
        assert len(regions) == 9


def test_each_backbone_gets_the_preprocessing_of_its_module(tmp_path):
    # VGG16 reads BGR without the means, MobileNet -1..1.
    network = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = str(tmp_path / "vgg.h5")
    network.save_weights(path)
    made = extractor(backbone="VGG16", weights=path, cells=1, image_size=32)
    image = RANDOM.integers(0, 256, [32, 32, 3], np.uint8)
    bgr = image[..., ::-1] - np.float32([103.939, 116.779, 123.68])
    expected = network(bgr[None], training=False).numpy().reshape(1, 512)
    assert made.feature_size == 512
    np.testing.assert_allclose(
        made.extract(image).features, expected, rtol=1e-3, atol=1e-3 * expected.max()
    )


def backbones() -> list[str]:
    return [
        name
        for name in dir(keras.applications)
        if name[0].isupper() and callable(getattr(keras.applications, name))
    ]


def test_every_backbone_is_known():
    assert len(backbones()) > 60
    for name in backbones():
        assert isinstance(KerasApplicationsExtractor(name), RegionExtractor)


# Keras names the size when it refuses another one, but not of all backbones.
@pytest.mark.parametrize(
    "name", [name for name in backbones() if not name.startswith(("MobileNetV3", "ResNetRS"))]
)
def test_the_usual_size_is_that_of_the_published_weights(name):
    with pytest.raises(ValueError, match="should be") as raised:
        getattr(keras.applications, name)(weights="imagenet", input_shape=(1, 1, 3))
    size = re.search(r"should be \((\d+), (\d+), 3\)", str(raised.value))
    assert size
    assert int(size[1]) == int(size[2]) == OTHER_SIZES.get(name, USUAL_SIZE)


def test_imagenet_weights_that_cannot_be_downloaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    # Nothing listens there.
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError) as raised:
        extractor(weights="imagenet").extract(PHOTO)
    message = one_line(raised)
    assert message.startswith("cannot download the ImageNet weights of MobileNet: get https://")
    file = re.search(r"/([^/ ]+\.h5) on another", message)
    assert file
    assert f"save it as ~/.keras/models/{file[1]}, or set weights to a file" in message
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "ResNet"}, "has no backbone 'ResNet'; it has ResNet50"),
        ({"backbone": ["ResNet50"]}, "has no backbone ['ResNet50']"),
        ({"cells": 0}, "cells is 0; it must be at least 1"),
        ({"cells": 2.5}, "cells is 2.5; it must be an integer"),
        ({"image_size": 0}, "image_size is 0; it must be at least 1"),
        ({"cells": 101}, "cells is 101; it must be at most 100"),
        ({"image_size": 5000}, "image_size is 5000; it must be at most 4096"),
        ({"weights": 3}, "weights is 3; it must be 'imagenet', a file, or null"),
        ({"weights": "imagnet"}, "imagnet: no such file; weights must be 'imagenet', a file"),
        ({"weights": __file__}, "must end in .h5 or .hdf5"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(InputError) as raised:
        extractor(**changes)
    assert message in one_line(raised)


def test_a_picture_size_below_what_the_network_takes_is_refused():
    with pytest.raises(InputError) as raised:
        extractor(image_size=8).feature_size  # noqa: B018
    assert one_line(raised).startswith("backbone MobileNet: Input size must be at least 32x32")


@pytest.mark.parametrize("content", ["words", ""])
def test_files_that_are_no_weights_are_refused(tmp_path, content):
    path = tmp_path / "weights.h5"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        extractor(weights=str(path))
    assert one_line(raised) == f"{path}: not an HDF5 file, or damaged"


def test_weights_of_another_network_are_refused(tmp_path):
    path = str(tmp_path / "weights.h5")
    keras.Sequential([keras.Input([3]), keras.layers.Dense(2)]).save_weights(path)
    with pytest.raises(InputError) as raised:
        extractor(weights=path).extract(PHOTO)
    assert one_line(raised).startswith(f"{path}: these are not weights of MobileNet (")
