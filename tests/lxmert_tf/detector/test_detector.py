"""The whole detector at a tiny size: batches, saving, and what it does with odd pictures."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.detector.config import DetectorConfig
from lxmert_tf.detector.detector import Detector
from lxmert_tf.errors import InputError
from tests.lxmert_tf.detector.samples import CONFIG, pictures, randomize, write_detector
from tests.lxmert_tf.samples import one_line

FLAVORS = ("hf", "caffe")


@functools.cache
def detector(flavor: str) -> Detector:
    model = Detector(CONFIG, flavor=flavor)
    randomize(model)
    return model


def assert_same(ours: dict, theirs: dict, atol=1e-4):
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=0, atol=atol, err_msg=name)


def in_order_of_boxes(regions: dict) -> dict:
    """Return the regions of one picture without the order of those that are as certain."""
    order = np.lexsort(np.round(regions["boxes"][0], 2).T)
    rows = {name: np.asarray(values) for name, values in regions.items() if len(values.shape) > 1}
    return {name: values[:, order] for name, values in rows.items()}


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_picture_gives_the_same_alone_and_in_a_batch(flavor):
    model = detector(flavor)
    # Not a size at which rounding decides which of two proposals is kept.
    images = pictures((40, 50), (70, 30), (61, 61), (24, 150))
    together = model(model.prepare(images))
    for i, image in enumerate(images):
        alone = model(model.prepare([image]))
        assert 0 < alone["region_count"][0] <= 6
        assert alone["region_count"] == together["region_count"][i : i + 1]
        of_batch = {name: values[i : i + 1] for name, values in together.items()}
        assert_same(in_order_of_boxes(of_batch), in_order_of_boxes(alone))


@pytest.mark.parametrize("flavor", FLAVORS)
def test_what_stands_in_the_padding_does_not_matter(flavor):
    model = detector(flavor)
    inputs = model.prepare(pictures((41, 53), (70, 30)))
    height, width = inputs["images"].shape[1:3]
    expected = model(inputs)
    margins = [[0, 0], [0, 37], [0, 21], [0, 0]]
    images = np.pad(inputs["images"], margins, constant_values=1000)
    for i, (rows, columns) in enumerate(inputs["image_sizes"].numpy()):
        images[i, rows:], images[i, :, columns:] = 1000, -1000
    assert images.shape[1:3] == (height + 37, width + 21)
    assert_same(model({**inputs, "images": images}), expected)


@pytest.mark.parametrize("flavor", ["caffe", pytest.param("hf", marks=pytest.mark.slow)])
def test_regions_are_those_of_the_outputs(flavor):
    model = detector(flavor)
    images = pictures((40, 50), (70, 30))
    outputs = model.predict_on_batch(model.prepare(images))
    for i, (image, regions) in enumerate(zip(images, model.detect(images))):
        count = outputs["region_count"][i]
        assert len(regions) == count
        height, width = image.shape[:2]
        boxes = regions.boxes * [width, height, width, height]
        np.testing.assert_allclose(boxes, outputs["boxes"][i, :count], rtol=0, atol=1e-3)
        np.testing.assert_array_equal(regions.features, outputs["features"][i, :count])
        np.testing.assert_array_equal(regions.object_ids, outputs["object_ids"][i, :count])
        assert regions.object_ids.max() < CONFIG.num_objects
        assert regions.attribute_ids.max() < CONFIG.num_attributes
        for values in outputs.values():
            if values.ndim > 1:
                assert not values[i, count:].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
@pytest.mark.parametrize("flavor", FLAVORS)
def test_tiny_pictures_give_regions_inside_them(flavor, size):
    [regions] = detector(flavor).detect(pictures(size))
    assert np.isfinite(regions.features).all()
    assert (regions.boxes >= 0).all() and (regions.boxes <= 1).all()


def test_the_model_is_saved_and_loaded(tmp_path):
    model = detector("hf")
    inputs = model.prepare(pictures((40, 50)))
    expected = model(inputs)
    twin = Detector.from_config(model.get_config())
    assert twin.config == model.config
    twin.set_weights(model.get_weights())
    assert_same(twin(inputs), expected, atol=0)
    model.save(tmp_path / "model.keras")
    back = keras.models.load_model(tmp_path / "model.keras")
    assert type(back) is Detector
    assert_same(back(inputs), expected, atol=0)


@pytest.mark.parametrize("flavor", ["hf", pytest.param("caffe", marks=pytest.mark.slow)])
def test_a_saved_graph_takes_batches_of_any_size(flavor, tmp_path):
    model = detector(flavor)
    shapes = {name: tf.TensorSpec(value.shape, value.dtype) for name, value in model.input.items()}
    module = tf.Module()
    module.weights = model.weights
    module.detect = tf.function(lambda inputs: model(inputs), input_signature=[shapes])
    tf.saved_model.save(module, str(tmp_path / "saved"))
    back = tf.saved_model.load(str(tmp_path / "saved"))
    for images in (pictures((40, 50)), pictures((70, 30), (61, 61))):
        inputs = model.prepare(images)
        assert_same(back.detect(inputs), model(inputs))


def test_the_summary_names_the_stages():
    lines: list[str] = []
    detector("hf").summary(print_fn=lambda line, line_break=False: lines.append(line))
    text = "\n".join(lines)
    names = ("stem", "res2_0", "res3_1", "res4_0", "proposal_head", "region_features")
    assert all(name in text for name in names)


def test_flavors_have_the_same_weights():
    shapes = [[(w.name, w.shape) for w in detector(flavor).weights] for flavor in FLAVORS]
    assert shapes[0] == shapes[1]


def test_a_low_precision_policy_is_for_layers_only():
    model = Detector(CONFIG, dtype="mixed_bfloat16")
    model.set_weights(detector("hf").get_weights())
    assert model.get_layer("res4_0").compute_dtype == "bfloat16"
    outputs = model(model.prepare(pictures((40, 50))))
    assert outputs["boxes"].dtype == outputs["features"].dtype == tf.float32


def test_configs_survive_json(tmp_path):
    config = dataclasses.replace(CONFIG, flavor="caffe")
    (tmp_path / "config.json").write_text(config.to_json())
    assert DetectorConfig.from_file(tmp_path / "config.json") == config
    assert DetectorConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavor": "torch"}, "flavor"),
        ({"stem_channels": 0}, "stem_channels"),
        ({"blocks": (1, 2, 3)}, "blocks"),
        ({"min_regions": 37}, "min_regions is 37; it must be at most max_regions, 36"),
        ({"hf": {"nms_thresholds": [2]}}, "nms_thresholds"),
    ],
)
def test_wrong_configs_are_refused(change, message):
    with pytest.raises(InputError) as raised:
        DetectorConfig.from_dict(change)
    assert message in one_line(raised)


def test_a_preset_of_another_format_is_refused(tmp_path):
    write_detector(tmp_path)
    (tmp_path / "preset.json").write_text('{"format": 99, "model": "Detector"}')
    with pytest.raises(InputError) as raised:
        Detector.from_preset(tmp_path)
    assert f"{tmp_path / 'preset.json'}: format is 99; this version reads 1" in one_line(raised)


def test_names_with_line_breaks_are_refused():
    names = [f"thing {i}" for i in range(CONFIG.num_objects - 1)]
    with pytest.raises(InputError) as raised:
        Detector(CONFIG, object_names=[*names, "two\nlines"])
    assert r"object_names has the entry 'two\nlines'; line breaks" in one_line(raised)


def test_a_preset_of_a_subclass_is_a_detectors(tmp_path):
    class Named(Detector):
        pass

    Named(CONFIG).save_preset(tmp_path)
    assert type(Detector.from_preset(tmp_path)) is Detector


def test_frozen_layers_stay_frozen():
    model = Detector(CONFIG)
    model.get_layer("stem").trainable = False
    twin = Detector.from_config(model.get_config())
    assert [layer.name for layer in twin.layers if not layer.trainable] == ["stem"]
