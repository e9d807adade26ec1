"""Every layer alone: it comes back from its config, and computes what its docstring says."""

import inspect
import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.activation import activation
from lxmert_tf.layers.attention import CrossAttention, SelfAttention
from lxmert_tf.layers.embeddings import LanguageEmbeddings, RegionEmbeddings
from lxmert_tf.layers.heads import AnswerHead, MaskedLMHead, Pooler, RegionHead
from lxmert_tf.layers.normalization import Float32LayerNorm, ResidualNorm
from lxmert_tf.layers.packing import Positions
from lxmert_tf.layers.transformer import CrossModalityLayer, FeedForward, TransformerLayer
from lxmert_tf.models.backbone import CrossModalityEncoder, LanguageEncoder, RelationshipEncoder
from tests.lxmert_tf.samples import CONFIG, model_inputs

RANDOM = np.random.default_rng(0)
INPUTS = model_inputs()
LANGUAGE = RANDOM.normal(size=[3, 7, 16]).astype(np.float32)
VISION = RANDOM.normal(size=[3, 5, 16]).astype(np.float32)
WORDS, BOXES = (INPUTS["token_ids"], INPUTS["segment_ids"]), INPUTS["region_boxes"]
WORD_POSITIONS = Positions(INPUTS["padding_mask"])
REGION_POSITIONS = Positions(INPUTS["region_mask"])
LANGUAGE_ROWS, VISION_ROWS = LANGUAGE.reshape([-1, 16]), VISION.reshape([-1, 16])
BOTH = (LANGUAGE_ROWS, VISION_ROWS, WORD_POSITIONS, REGION_POSITIONS)
# Every argument away from its default, so that one that get_config forgets is missed.
ATTENTION = {
    "num_heads": 4,
    "hidden_dropout": 0.2,
    "attention_dropout": 0.3,
    "epsilon": 0.1,
    "initializer_range": 0.5,
}
HEAD = {"hidden_act": "tanh", "epsilon": 0.1, "initializer_range": 0.5}
EMBEDDINGS = {"hidden_size": 16, "dropout": 0.2, "epsilon": 0.1, "initializer_range": 0.5}
TABLES = {"vocab_size": 50, "max_position_embeddings": 9, "type_vocab_size": 2}
REGIONS = {"num_objects": 3, "num_attributes": 4, "region_feature_size": 6}
TABLE = RANDOM.normal(size=[20, 16]).astype(np.float32)

LAYERS = [
    (Float32LayerNorm, {"epsilon": 0.1}, (LANGUAGE,)),
    (ResidualNorm, {"dropout": 0.2, "epsilon": 0.1}, (LANGUAGE, 2 * LANGUAGE)),
    (SelfAttention, ATTENTION, (LANGUAGE_ROWS, WORD_POSITIONS)),
    (CrossAttention, ATTENTION, BOTH),
    (
        FeedForward,
        {"intermediate_size": 5, "hidden_act": "relu", "dropout": 0.2, "epsilon": 0.1},
        (LANGUAGE,),
    ),
    (LanguageEmbeddings, {**TABLES, **EMBEDDINGS}, WORDS),
    (RegionEmbeddings, EMBEDDINGS, (INPUTS["region_features"], BOXES)),
    (Pooler, {"hidden_size": 16, "initializer_range": 0.5}, (LANGUAGE[:, 0],)),
    (MaskedLMHead, {"vocab_size": 20, **HEAD}, (LANGUAGE, TABLE)),
    (RegionHead, {**REGIONS, **HEAD}, (VISION,)),
    (AnswerHead, {"num_answers": 3, "transform_size": 5, **HEAD}, (LANGUAGE[:, 0],)),
    (TransformerLayer, {"config": CONFIG}, (LANGUAGE_ROWS, WORD_POSITIONS)),
    (CrossModalityLayer, {"config": CONFIG}, BOTH),
    (LanguageEncoder, {"config": CONFIG}, (*WORDS, WORD_POSITIONS)),
    (RelationshipEncoder, {"config": CONFIG}, (INPUTS["region_features"], BOXES, REGION_POSITIONS)),
    (CrossModalityEncoder, {"config": CONFIG}, BOTH),
]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("cls", "arguments", "inputs"), LAYERS, ids=[c[0].__name__ for c in LAYERS]
)
def test_a_layer_comes_back_from_its_config(cls, arguments, inputs, policy):
    layer = cls(**arguments, name="original", dtype=policy)
    gives_attentions = "output_attentions" in inspect.signature(cls.call).parameters
    everything = {"output_attentions": True} if gives_attentions else {}
    expected = layer(*inputs, **everything)
    written = keras.layers.serialize(layer)
    twin = keras.layers.deserialize(written)
    assert keras.layers.serialize(twin)["config"] == written["config"]
    for name, value in arguments.items():
        stored = written["config"][name]
        assert stored == (value.to_dict() if name == "config" else value)
    outputs = twin(*inputs, **everything)
    twin.set_weights(layer.get_weights())
    outputs = twin(*inputs, **everything)
    tf.nest.assert_same_structure(outputs, expected)
    for ours, theirs in zip(tf.nest.flatten(outputs), tf.nest.flatten(expected)):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(tf.cast(ours, tf.float32), tf.cast(theirs, tf.float32))


def test_every_layer_class_of_the_package_is_in_the_test_above():
    modules = {cls.__module__ for cls, _, _ in LAYERS}
    registered = {
        value
        for name, value in keras.utils.get_custom_objects().items()
        if name.startswith("lxmert_tf>") and getattr(value, "__module__", None) in modules
    }
    registered = {cls for cls in registered if not issubclass(cls, keras.Model)}
    assert registered == {cls for cls, _, _ in LAYERS}


@pytest.mark.parametrize("dtype", [np.float32, tf.bfloat16.as_numpy_dtype])
def test_layer_norm_keeps_its_precision_beside_a_large_mean(dtype):
    # Whole numbers around 4096 + k * 32, which bfloat16 holds exactly; a mean or variance taken
    # in bfloat16 would be off by as much as the numbers differ.
    hidden = (4096 + 32 * RANDOM.integers(0, 8, [6, 64])).astype(dtype)
    exact = hidden.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    policy = "float32" if dtype == np.float32 else "mixed_bfloat16"
    output = Float32LayerNorm(dtype=policy)(hidden)
    assert output.dtype == dtype
    # The output's own rounding: 2^-9 of up to about 2 in bfloat16.
    atol = 1e-4 if dtype == np.float32 else 0.008
    np.testing.assert_allclose(output.numpy().astype(np.float64), exact, rtol=0, atol=atol)


def test_self_attention_equals_its_formula_in_numpy():
    layer = SelfAttention(2, initializer_range=0.4)
    rows, probabilities = layer(LANGUAGE_ROWS, WORD_POSITIONS, output_attentions=True)
    output = WORD_POSITIONS.to_batch(rows)
    kernel, bias, out_kernel, out_bias, gamma, beta = (
        w.astype(np.float64) for w in layer.get_weights()
    )
    hidden = LANGUAGE.astype(np.float64)
    query, key, value = np.split(hidden @ kernel + bias, 3, axis=-1)
    contexts = []
    for head in range(2):
        columns = slice(8 * head, 8 * head + 8)
        scores = query[..., columns] @ key[..., columns].transpose(0, 2, 1) / math.sqrt(8)
        weights = np.exp(scores) * INPUTS["padding_mask"][:, None]
        weights /= weights.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(probabilities[:, head], weights, rtol=0, atol=1e-6)
        contexts.append(weights @ value[..., columns])
    total = np.concatenate(contexts, axis=-1) @ out_kernel + out_bias + hidden
    normal = (total - total.mean(-1, keepdims=True)) / total.std(-1, keepdims=True)
    np.testing.assert_allclose(output, normal * gamma + beta, rtol=0, atol=1e-5)


def test_cross_attention_treats_both_directions_alike():
    layer = CrossAttention(2, initializer_range=0.4)
    language, vision, to_vision, to_language = layer(*BOTH, output_attentions=True)
    sides = (VISION_ROWS, LANGUAGE_ROWS, REGION_POSITIONS, WORD_POSITIONS)
    swapped = layer(*sides, output_attentions=True)
    for ours, theirs in zip((vision, language, to_language, to_vision), swapped):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
    # Each direction reads the other side's input: a change of one region reaches every word.
    other = VISION.copy()
    other[:, 0] += 1
    moved = layer(LANGUAGE_ROWS, other.reshape([-1, 16]), WORD_POSITIONS, REGION_POSITIONS)[0]
    assert (np.abs(moved - language).max(axis=-1) > 1e-4).all()


def test_gelu_is_the_exact_form():
    x = np.linspace(-4, 4, 41).astype(np.float32)
    exact = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    # The tanh form is off by up to 5e-4.
    np.testing.assert_allclose(activation("gelu")(x), exact, rtol=0, atol=1e-6)


def test_the_pooler_equals_its_formula():
    pooler = Pooler(16, 0.5)
    output = pooler(LANGUAGE[:, 0])
    kernel, bias = pooler.get_weights()
    expected = np.tanh(LANGUAGE[:, 0] @ kernel + bias)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)


def test_initial_weights_are_normal_with_the_given_deviation_and_biases_zero():
    keras.utils.set_random_seed(0)
    layer = TransformerLayer({**CONFIG.to_dict(), "hidden_size": 128, "initializer_range": 0.02})
    layer(tf.zeros([1, 128]), Positions(tf.ones([1, 1])))
    for variable in layer.weights:
        if "kernel" in variable.name:
            assert float(tf.math.reduce_std(variable)) == pytest.approx(0.02, rel=0.05)
        else:
            assert set(variable.numpy().ravel()) == {1.0 if "gamma" in variable.name else 0.0}
