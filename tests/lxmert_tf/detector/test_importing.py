"""Weights of the detector from every file that people have, and presets of it."""

import dataclasses
import functools
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from lxmert_tf.cli.main import main
from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.torch_writing import write_torch_file
from lxmert_tf.detector.boxes import centered_anchors
from lxmert_tf.detector.config import CaffeRules, DetectorConfig, HfRules
from lxmert_tf.detector.detector import Detector
from lxmert_tf.detector.foreign_config import config_of_tensors, foreign_fields
from lxmert_tf.detector.importing import _read, import_detector
from lxmert_tf.detector.presets import load_weights
from lxmert_tf.detector.weight_names import ANCHORS, detector_variables
from lxmert_tf.errors import InputError
from lxmert_tf.json_file import read_json
from tests.lxmert_tf.detector import golden_detector
from tests.lxmert_tf.detector.samples import CONFIG, randomize
from tests.lxmert_tf.samples import one_line

OBJECTS = [f"object {i}" for i in range(CONFIG.num_objects)]
ATTRIBUTES = [f"attribute {i}" for i in range(CONFIG.num_attributes)]
COUNTER = "backbone.stem.conv1.norm.num_batches_tracked"
# What config.yaml of the published detector would say of `CONFIG`.
PUBLISHED_CONFIG = {
    "model": {"pixel_mean": [102.9801, 115.9465, 122.7717]},
    "input": {"min_size_test": 64, "max_size_test": 100},
    "anchor_generator": {"sizes": [[24, 48]], "aspect_ratios": [[0.5, 1.0, 2.0]]},
    "rpn": {"pre_nms_topk_test": 50, "post_nms_topk_test": 12, "nms_thresh": 0.7},
    "roi_heads": {"score_thresh_test": 0.2, "nms_thresh_test": [0.5, 0.6, 0.7]},
    "min_detections": 4,
    "max_detections": 6,
}


@functools.cache
def original() -> Detector:
    model = Detector(CONFIG)
    randomize(model)
    return model


@functools.cache
def tensors() -> dict[str, np.ndarray]:
    """The weights of the original under the published names, with a counter as PyTorch has."""
    values = {COUNTER: np.float32([7])}
    for named in detector_variables(original()):
        for name, value in named.split(named.variable.numpy()).items():
            values[name] = np.ascontiguousarray(value)
    return values


def write_torch(path, values):
    stored = {
        name: StoredTensor(value.shape, functools.partial(np.asarray, value))
        for name, value in values.items()
    }
    write_torch_file(path, stored, {})


def write_wrapped_torch(path, values):
    """Write PyTorch's file of {"model": state dict}."""
    write_torch(path, values)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    [name] = [name for name in members if name.endswith("data.pkl")]
    # An empty dict and a key before the state dict, and the assignment after it.
    state = members[name].removeprefix(b"\x80\x02").removesuffix(b".")
    members[name] = b"\x80\x02}X\x05\0\0\0model" + state + b"s."
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_pickle(path, values, protocol=2, wrap=True):
    content = {"model": values, "__author__": "test"} if wrap else values
    path.write_bytes(pickle.dumps(content, protocol))


WRITERS = {
    "weights.safetensors": lambda path: save_file(tensors(), path),
    "pytorch_model.bin": lambda path: write_torch(path, tensors()),
    "wrapped.bin": lambda path: write_wrapped_torch(path, tensors()),
    "wrapped.pkl": lambda path: write_pickle(path, tensors()),
    "plain.pkl": lambda path: write_pickle(path, tensors(), protocol=4, wrap=False),
}


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(PUBLISHED_CONFIG))
    return path


@pytest.fixture
def weights_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(tensors(), path)
    return path


def assert_same_weights(ours, theirs):
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", WRITERS)
def test_all_files_give_the_same_tensors(name, tmp_path):
    WRITERS[name](tmp_path / name)
    read = _read(tmp_path / name)
    assert read.keys() == tensors().keys()
    for key, value in tensors().items():
        assert read[key].shape == value.shape
        np.testing.assert_array_equal(read[key].read(), value)


def test_a_file_of_weights_is_imported(weights_file, config_file):
    model, report = import_detector(weights_file, config_file)
    assert report.is_complete() and report.unexpected == ()
    assert set(report.loaded) == tensors().keys() - {COUNTER}
    caffe = CaffeRules(shorter_side=64, longest_side=100)
    assert model.config == dataclasses.replace(CONFIG, caffe=caffe)
    assert_same_weights(model, original())


def test_a_directory_has_config_and_names_beside_the_weights(tmp_path, config_file):
    write_torch(tmp_path / "pytorch_model.bin", tensors())
    (tmp_path / "objects_vocab.txt").write_text("\n".join(f"{n},other" for n in OBJECTS))
    (tmp_path / "attributes_vocab.txt").write_text("\n".join(ATTRIBUTES) + "\n")
    model, report = import_detector(tmp_path, flavor="caffe")
    assert report.is_complete()
    assert (model.object_names, model.attribute_names) == (OBJECTS, ATTRIBUTES)
    assert model.config.flavor == "caffe"
    assert model.config.max_regions == 6


def test_a_published_directory_loads_as_a_preset_and_stays_as_it_is(tmp_path, config_file):
    write_torch(tmp_path / "pytorch_model.bin", tensors())
    (tmp_path / "objects_vocab.txt").write_text("\n".join(OBJECTS))
    files = set(tmp_path.iterdir())
    model = Detector.from_preset(tmp_path, flavor="caffe")
    assert (model.object_names, model.attribute_names) == (OBJECTS, None)
    assert (model.config.flavor, model.config.max_regions) == ("caffe", 6)
    assert_same_weights(model, original())
    assert set(tmp_path.iterdir()) == files
    rest = {name: value for name, value in tensors().items() if "attr_score" not in name}
    write_torch(tmp_path / "pytorch_model.bin", rest)
    with pytest.raises(InputError) as raised:
        load_weights(model, tmp_path)
    assert "missing tensors: 2, of a wrong shape: 0, such as roi_heads" in one_line(raised)


def test_the_report_names_every_tensor_that_does_not_fit(tmp_path, config_file):
    values = dict(tensors())
    missing = "roi_heads.box_predictor.attr_score.bias"
    del values[missing]
    wrong = "backbone.res3.1.conv2.weight"
    values[wrong] = values[wrong][:, :, :1]
    values["roi_heads.mask"] = np.zeros([2], np.float32)
    save_file({name: np.ascontiguousarray(v) for name, v in values.items()}, tmp_path / "a")
    model, report = import_detector(tmp_path / "a", config_file)
    assert report.missing == (missing,)
    assert report.wrong_shape == ((wrong, (8, 8, 1, 3), (8, 8, 3, 3)),)
    assert report.unexpected == ("roi_heads.mask",)
    assert not report.is_complete()


def test_a_checkpoints_own_anchors_win_in_both_flavors(tmp_path, config_file):
    own = centered_anchors((24, 48), (0.5, 1.0, 2.0)) + np.float32(8)
    save_file({**tensors(), ANCHORS: own}, tmp_path / "a")
    model, _ = import_detector(tmp_path / "a", config_file)
    layer = model.get_layer("proposal_selection")
    np.testing.assert_array_equal(layer.hf_anchors, own)
    np.testing.assert_array_equal(layer.caffe_anchors, own - np.float32([0, 0, 1, 1]))


def test_a_preset_holds_all_of_a_detector(tmp_path):
    model = Detector(CONFIG, object_names=OBJECTS, attribute_names=ATTRIBUTES)
    randomize(model, seed=1)
    model.get_layer("proposal_selection").caffe_anchors.assign(np.ones([6, 4]))
    model.save_preset(tmp_path / "preset")
    back = Detector.from_preset(tmp_path / "preset", flavor="caffe")
    assert back.config == dataclasses.replace(CONFIG, flavor="caffe")
    assert (back.object_names, back.attribute_names) == (OBJECTS, ATTRIBUTES)
    assert_same_weights(back, model)


def change_about(preset):
    (preset / "preset.json").write_text('{"format": 1, "model": "LxmertBackbone"}')


def drop_a_name(preset):
    (preset / "objects.txt").write_text("one\n")


def cut_weights(preset):
    path = preset / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def change_sizes(preset):
    config = read_json(preset / "config.json")
    (preset / "config.json").write_text(json.dumps({**config, "stem_channels": 5}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "preset not found"),
        (change_about, "a preset of LxmertBackbone, not of a detector"),
        (drop_a_name, "object_names has 1 entries but config.num_objects is 7"),
        (cut_weights, "damaged safetensors file"),
        (change_sizes, "backbone.stem.conv1.weight is [4, 3, 7, 7]; it must be [5, 3, 7, 7]"),
    ],
)
def test_damaged_presets_are_refused_in_one_line(damage, message, tmp_path):
    original().save_preset(tmp_path / "preset")
    damage(tmp_path / "preset")
    with pytest.raises(InputError) as raised:
        Detector.from_preset(tmp_path / "preset")
    assert message in one_line(raised)
    assert str(raised.value).count(str(tmp_path)) == 1


class RunsCommand:
    """Object whose pickle calls os.system."""

    def __reduce__(self):
        return os.system, ("false",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"model": {"a": RunsCommand()}}), "system, which is not data"),
        (pickle.dumps({"model": {"a": "text"}}), "'a' is not an array of numbers"),
        (pickle.dumps({"model": {1: np.zeros(2)}}), "the name 1 is not a string"),
        (pickle.dumps([1]), "not a dict of arrays but a list"),
        (pickle.dumps({"a": np.zeros([2])}), "not a checkpoint of the detector"),
        (pickle.dumps({"a": np.zeros([2])})[:-20], "damaged pickle"),
        (b"some text\n", "a text file"),
        (b"", "an empty file"),
    ],
)
def test_other_files_are_refused_in_one_line(content, message, tmp_path):
    path = tmp_path / "weights.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        import_detector(path)
    assert message in one_line(raised)
    assert str(path) in str(raised.value)


def test_the_command_writes_a_preset_and_a_report(tmp_path, weights_file, config_file, capsys):
    output = tmp_path / "preset"
    arguments = ["import-weights", "--source", "detector", "--checkpoint", str(weights_file)]
    arguments += ["--detector-config", str(config_file), "--flavor", "caffe"]
    assert main([*arguments, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert f"loaded:      {len(tensors()) - 1}" in printed
    assert "missing:     0" in printed
    model = Detector.from_preset(output)
    assert model.config.flavor == "caffe"
    assert_same_weights(model, original())
    assert main([*arguments, "--answers", "a.txt", "--output", str(tmp_path / "b")]) == 2
    assert "--answers is for models, not detectors" in capsys.readouterr().err


def test_the_published_config_gives_the_defaults():
    golden = read_json(golden_detector.folder() / "hf/config.json")
    fields = foreign_fields(golden["published_config"])
    assert DetectorConfig.from_dict(fields) == DetectorConfig()


@pytest.mark.parametrize("flavor", ["hf", "caffe"])
def test_the_golden_checkpoint(flavor):
    folder = golden_detector.folder()
    model, report = import_detector(folder / "weights.safetensors", folder / flavor / "config.json")
    assert report.is_complete() and report.unexpected == ()
    expected = golden_detector.CONFIG
    if flavor == "hf":
        caffe = CaffeRules(shorter_side=224, longest_side=296)
        expected = dataclasses.replace(expected, caffe=caffe)
    else:
        expected = dataclasses.replace(expected, flavor="caffe", hf=HfRules())
    assert model.config == expected
    assert_same_weights(model, golden_detector.detector(flavor))


def test_attributes_may_be_missing(tmp_path, config_file):
    parts = ("attr", "cls_embedding")
    rest = {name: value for name, value in tensors().items() if not any(p in name for p in parts)}
    save_file(rest, tmp_path / "a")
    model, report = import_detector(tmp_path / "a", config_file)
    assert set(report.missing) == tensors().keys() - rest.keys()
    assert model.config.num_attributes == 400


@pytest.mark.slow
def test_published_names_and_shapes():
    content = read_json(golden_detector.folder() / "published_tensors.json")
    published = {
        name: StoredTensor(tuple(shape), lambda: None)
        for name, shape, *_ in content["tensors"]
        if not name.endswith("num_batches_tracked")
    }
    assert config_of_tensors(published, {}, "published") == DetectorConfig()
    ours = {}
    for named in detector_variables(Detector()):
        ours.update(named.shapes())
    assert ours == {name: tensor.shape for name, tensor in published.items()}


@pytest.mark.parametrize(
    "name",
    [
        "tiny_pytorch_model_zip.bin",
        "tiny_pytorch_model_legacy.bin",
        *(f"tiny_detectron2_proto{protocol}.pkl" for protocol in (2, 3, 4)),
    ],
)
def test_golden_files_of_other_formats(name):
    folder = golden_detector.folder() / "formats"
    expected = dict(np.load(folder / "tiny_expected.npz"))
    read = _read(folder / name)
    expected = {key: value for key, value in expected.items() if key in read or "num_" not in key}
    assert read.keys() == expected.keys()
    for key, value in expected.items():
        assert read[key].shape == value.shape
        np.testing.assert_array_equal(read[key].read(), value)
