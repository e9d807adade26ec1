"""`lxmert export`: the SavedModel answers as the preset, and written completely or not at all."""

import argparse
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import LxmertAnswerClassifier
from lxmert_tf.cli.arguments import load_detector
from lxmert_tf.serving.export import cast_weights
from lxmert_tf.serving.session import SavedModelSession

QUESTIONS = ["is there a circle?", "what shape is in the image?", "what color is the shape?"]


@pytest.fixture
def inputs():
    random = np.random.default_rng(0)
    return {
        "question": QUESTIONS,
        "region_features": random.normal(size=[3, 4, 64]),
        "region_boxes": random.uniform(size=[3, 4, 4]),
        "region_count": [4, 2, 1],
    }


def weight_bytes(folder) -> int:
    return sum(path.stat().st_size for path in (folder / "variables").iterdir())


@pytest.mark.slow
def test_a_version_in_bfloat16_answers_as_the_preset_and_is_half_as_large(
    lxmert, tiny, tmp_path, inputs
):
    version = tmp_path / "served" / "vqa" / "1"
    command = ("export", "--preset", tiny.preset, "--output", version, "--precision", "bfloat16")
    outcome = lxmert(*command, "--top-k", 3)
    assert (outcome.status, outcome.stdout) == (0, f"written to {version}\n")
    assert [path.name for path in version.parent.iterdir()] == ["1"]
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()
    # In so small a model, LayerNorms and the names of variables take a share that does not halve.
    assert weight_bytes(version) < 0.7 * weight_bytes(tiny.saved_model)
    exported = SavedModelSession(version).run("serving_default", inputs)
    expected = SavedModelSession(tiny.saved_model).run("serving_default", inputs)
    # bfloat16 keeps 8 bits: 0.004 of each number, and the sums of four layers add up.
    np.testing.assert_allclose(exported["scores"], expected["scores"][:, :3], rtol=0, atol=0.05)


def test_bfloat16_computes_what_mixed_precision_computes(tiny):
    mixed = LxmertAnswerClassifier.from_preset(tiny.preset, dtype="mixed_bfloat16")
    twin = cast_weights(mixed, "bfloat16")
    random = np.random.default_rng(0)
    inputs = {
        "token_ids": random.integers(5, 60, [3, 6], np.int32),
        "padding_mask": np.ones([3, 6], np.int32),
        "region_features": random.normal(size=[3, 4, 64]).astype(np.float32),
        "region_boxes": random.uniform(size=[3, 4, 4]).astype(np.float32),
    }
    assert {v.dtype for v in twin.variables if "kernel" in v.name} == {tf.bfloat16}
    assert {v.dtype for v in twin.variables if "gamma" in v.name} == {tf.float32}
    np.testing.assert_array_equal(twin(inputs), mixed(inputs))


def test_a_preset_without_a_vocabulary_is_refused(refused, tiny, tmp_path):
    preset = tmp_path / "preset"
    shutil.copytree(tiny.preset, preset)
    (preset / "vocab.txt").unlink()
    line = refused("export", "--preset", preset, "--output", tmp_path / "1")
    assert "the model has no vocabulary" in line
    assert not (tmp_path / "1").exists()


def test_the_detector_of_an_export_computes_in_float32_whatever_the_policy(detector):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        loaded = load_detector(argparse.Namespace(detector=str(detector), flavor="caffe"))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert {layer.compute_dtype for layer in loaded.layers} <= {"float32", "int32"}
    assert loaded.config.flavor == "caffe"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "{there}"], "already exists; choose a new path"),
        (["--output", "{new}", "--max-length", "2"], "they must be at least 3"),
        (["--output", "{new}", "--top-k", "0"], "they must be at least 3"),
        (["--output", "{new}", "--flavor", "hf"], "--flavor requires --detector"),
        (["--output", "{new}", "--precision", "int8"], "--precision int8 needs --format openvino"),
        (
            ["--output", "{new}", "--format", "openvino", "--detector", "{there}"],
            "--format openvino cannot contain a detector",
        ),
        (["--output", "{new}", "--detector", "{there}"], "preset.json"),
    ],
)
def test_impossible_exports_are_refused(refused, tiny, tmp_path, arguments, message):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    names = {"there": tmp_path / "there", "new": tmp_path / "new"}
    line = refused("export", "--preset", tiny.preset, *(a.format(**names) for a in arguments))
    assert message in line
