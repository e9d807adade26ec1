"""`lxmert export`: the SavedModel answers as the preset, and nothing half-written is left."""

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertAnswerClassifier, LxmertPretrainer
from lxmert_tf.serving.export import cast_weights

QUESTIONS = ["is there a circle?", "what shape is in the image?", "what color is the shape?"]


def answers(folder):
    random = np.random.default_rng(0)
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return signature(
        question=tf.constant(QUESTIONS),
        region_features=tf.constant(random.normal(size=[3, 4, 64]).astype(np.float32)),
        region_boxes=tf.constant(random.uniform(size=[3, 4, 4]).astype(np.float32)),
        region_count=tf.constant([4, 2, 1]),
    )


def weight_bytes(folder) -> int:
    return sum(path.stat().st_size for path in (folder / "variables").iterdir())


def test_a_version_answers_as_the_pushed_model(lxmert, tiny, tmp_path):
    version = tmp_path / "served" / "vqa" / "1"
    outcome = lxmert("export", "--preset", tiny.preset, "--output", version, "--top-k", 3)
    assert (outcome.status, outcome.stdout) == (0, f"written to {version}\n")
    assert [path.name for path in version.parent.iterdir()] == ["1"]
    ours, pushed = answers(version), answers(tiny.saved_model)
    np.testing.assert_array_equal(ours["scores"], pushed["scores"][:, :3])
    np.testing.assert_array_equal(ours["answers"], pushed["answers"][:, :3])
    assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_bfloat16_weights_are_half_as_large_and_round_as_mixed_precision_does(
    lxmert, tiny, tmp_path
):
    version = tmp_path / "1"
    command = ("export", "--preset", tiny.preset, "--output", version, "--precision", "bfloat16")
    assert lxmert(*command).status == 0
    # Of so small a model, LayerNorms and the names of variables take a share that does not halve.
    assert weight_bytes(version) < 0.7 * weight_bytes(tiny.saved_model)
    np.testing.assert_allclose(
        # bfloat16 keeps 8 bits: 0.004 of each number, and the sums of four layers add up.
        answers(version)["scores"],
        answers(tiny.saved_model)["scores"],
        rtol=0,
        atol=0.05,
    )


def test_a_twin_in_bfloat16_computes_what_mixed_precision_computes(tiny):
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


def test_a_preset_without_answers_is_refused(refused, tiny, tmp_path):
    preset = tmp_path / "preset"
    LxmertPretrainer.from_preset(tiny.preset).save_preset(preset)
    line = refused("export", "--preset", preset, "--output", tmp_path / "1")
    assert "LxmertPretrainer, which gives no answers; fine-tune it first" in line
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "{there}"], "exists already; name a new directory"),
        (["--output", "{new}", "--max-length", "2"], "at least 3 and 1 are needed"),
        (["--output", "{new}", "--top-k", "0"], "at least 3 and 1 are needed"),
    ],
)
def test_what_cannot_be_is_refused(refused, tiny, tmp_path, arguments, message):
    names = {"there": tmp_path, "new": tmp_path / "new"}
    line = refused("export", "--preset", tiny.preset, *(a.format(**names) for a in arguments))
    assert message in line
