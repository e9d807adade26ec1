"""Every layer alone: it passes the shared check, and computes what its docstring says."""

import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.attention import CrossAttention, SelfAttention, attention_bias
from lxmert_tf.layers.dense import activation
from lxmert_tf.layers.dropout import SeededDropout
from lxmert_tf.layers.embeddings import LanguageEmbeddings, RegionEmbeddings
from lxmert_tf.layers.heads import AnswerHead, MaskedLMHead, Pooler, RegionHead
from lxmert_tf.layers.normalization import LayerNorm, ResidualNorm
from lxmert_tf.layers.transformer import CrossModalityLayer, FeedForward, TransformerLayer
from lxmert_tf.models.pair_classifier import FoldImages, JoinImages, RepeatBatch
from tests.lxmert_tf.keras_checks import assert_equal, check_layer
from tests.lxmert_tf.samples import model_inputs

RANDOM = np.random.default_rng(0)
INPUTS = model_inputs()
LANGUAGE = RANDOM.normal(size=[3, 7, 16]).astype(np.float32)
VISION = RANDOM.normal(size=[3, 5, 16]).astype(np.float32)
WORDS, REGIONS = INPUTS["padding_mask"], INPUTS["region_mask"]
BOTH = (LANGUAGE, VISION, WORDS, REGIONS)
TABLE = RANDOM.normal(size=[20, 16]).astype(np.float32)
# Every argument away from its default, so that a forgotten one in get_config is noticed.
ATTENTION = {
    "num_heads": 4,
    "hidden_dropout": 0.2,
    "attention_dropout": 0.3,
    "epsilon": 0.1,
    "initializer_range": 0.5,
}
TRANSFORMER = {**ATTENTION, "intermediate_size": 5, "hidden_act": "relu"}
HEAD = {"hidden_act": "tanh", "epsilon": 0.1, "initializer_range": 0.5}
EMBEDDINGS = {"hidden_size": 16, "dropout": 0.2, "epsilon": 0.1, "initializer_range": 0.5}
TABLES = {"vocab_size": 50, "max_position_embeddings": 9, "type_vocab_size": 2}
REGION_HEAD = {"num_objects": 3, "num_attributes": 4, "region_feature_size": 6}

LAYERS = [
    (SeededDropout, {"rate": 0.2}, (LANGUAGE,)),
    (LayerNorm, {"epsilon": 0.1}, (LANGUAGE,)),
    (ResidualNorm, {"dropout": 0.2, "epsilon": 0.1}, (LANGUAGE, 2 * LANGUAGE)),
    (SelfAttention, ATTENTION, (LANGUAGE, WORDS)),
    (SelfAttention, {**ATTENTION, "pooled_only": True}, (LANGUAGE, WORDS)),
    (CrossAttention, ATTENTION, BOTH),
    (CrossAttention, {**ATTENTION, "pooled_only": True}, BOTH),
    (
        FeedForward,
        {"intermediate_size": 5, "hidden_act": "relu", "dropout": 0.2, "epsilon": 0.1},
        (LANGUAGE,),
    ),
    (
        LanguageEmbeddings,
        {**TABLES, **EMBEDDINGS, "freeze_first_rows": True},
        (INPUTS["token_ids"], INPUTS["segment_ids"]),
    ),
    (
        RegionEmbeddings,
        {**EMBEDDINGS, "box_size": 4},
        (INPUTS["region_features"], INPUTS["region_boxes"]),
    ),
    (Pooler, {"hidden_size": 16, "initializer_range": 0.5}, (LANGUAGE[:, 0],)),
    (MaskedLMHead, {"vocab_size": 20, **HEAD}, (LANGUAGE, TABLE)),
    (RegionHead, {**REGION_HEAD, **HEAD}, (VISION,)),
    (AnswerHead, {"num_answers": 3, "transform_size": 5, **HEAD}, (LANGUAGE[:, 0],)),
    (TransformerLayer, TRANSFORMER, (LANGUAGE, WORDS)),
    (CrossModalityLayer, TRANSFORMER, BOTH),
    (CrossModalityLayer, {**TRANSFORMER, "pooled_only": True}, BOTH),
    (FoldImages, {}, (np.stack([VISION, VISION + 1], axis=1),)),
    (RepeatBatch, {}, (VISION,)),
    (JoinImages, {}, (LANGUAGE[:2, 0],)),
]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("cls", "arguments", "inputs"), LAYERS, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_layer_behaves_as_keras_layers_do(cls, arguments, inputs, policy, tmp_path):
    check_layer(cls, arguments, inputs, policy, tmp_path)


def test_every_layer_class_of_the_package_is_in_the_test_above():
    modules = {cls.__module__ for cls, _, _ in LAYERS}
    registered = {
        value
        for name, value in keras.utils.get_custom_objects().items()
        if name.startswith("lxmert_tf>") and getattr(value, "__module__", None) in modules
    }
    registered = {cls for cls in registered if not issubclass(cls, keras.Model)}
    assert registered == {cls for cls, _, _ in LAYERS}
    # Keras warns of each layer of a SavedModel that has the name of one of its own.
    assert not [cls for cls in registered if hasattr(keras.layers, cls.__name__)]


def test_attention_may_go_without_a_mask():
    layer = TransformerLayer(2, 12, initializer_range=0.4)
    expected = layer(LANGUAGE, np.ones([3, 7]))
    np.testing.assert_allclose(layer(LANGUAGE), expected, rtol=0, atol=1e-6)
    assert layer(LANGUAGE).shape == LANGUAGE.shape


def test_shapes_of_two_inputs_may_be_given_as_a_list():
    language, vision = tf.TensorShape([None, 7, 16]), tf.TensorShape([None, 5, 16])
    for layer in (CrossAttention(2), CrossModalityLayer(2, 12)):
        assert layer.compute_output_shape(language, vision) == (language, vision)
        assert layer.compute_output_shape([language, vision]) == (language, vision)
        assert layer.compute_output_shape([(3, 7, 16), (3, 5, 16)]) == ((3, 7, 16), (3, 5, 16))
    pooled = CrossModalityLayer(2, 12, pooled_only=True)
    assert pooled.compute_output_shape([(3, 7, 16), (3, 5, 16)]) == (3, 16)


def test_layers_that_fold_the_batch_know_its_size():
    assert FoldImages().compute_output_shape([3, 2, 5, 16]) == (6, 5, 16)
    assert RepeatBatch().compute_output_shape([3, 7]) == (6, 7)
    assert JoinImages().compute_output_shape([6, 16]) == (3, 32)
    assert JoinImages().compute_output_shape([None, 16]).as_list() == [None, 32]


def masked_embedding(vocabulary=9):
    """An embedding of Keras whose output has a Keras mask, and ids with some of them masked."""
    ids = RANDOM.integers(1, vocabulary, [3, 7]) * WORDS
    return keras.layers.Embedding(vocabulary, 16, mask_zero=True), ids


MASKED_LAYERS = {
    LayerNorm: (),
    FeedForward: (5,),
    RegionHead: (3, 4, 6),
    SelfAttention: (2,),
    TransformerLayer: (2, 12),
}


@pytest.mark.parametrize("cls", MASKED_LAYERS)
def test_a_keras_mask_is_used_and_passed_on(cls):
    layer = cls(*MASKED_LAYERS[cls])
    embedding, ids = masked_embedding()
    hidden = embedding(ids)
    output = tf.nest.flatten(layer(hidden))[0]
    np.testing.assert_array_equal(output._keras_mask, ids != 0)
    arguments = [WORDS] if isinstance(layer, (SelfAttention, TransformerLayer)) else []
    expected = tf.nest.flatten(layer(hidden.numpy(), *arguments))[0]
    np.testing.assert_array_equal(output, expected)
    # A mask that is given goes before that of Keras.
    if arguments:
        everything = layer(hidden, np.ones([3, 7]))
        np.testing.assert_array_equal(everything, layer(hidden.numpy(), np.ones([3, 7])))
        assert np.abs(everything - output).max() > 1e-3


@pytest.mark.parametrize("cls", [CrossAttention, CrossModalityLayer])
def test_keras_masks_of_both_sides_are_used_and_passed_on(cls):
    size = {"intermediate_size": 12} if cls is CrossModalityLayer else {}
    layer = cls(2, initializer_range=0.4, **size)
    embedding, ids = masked_embedding()
    language = embedding(ids)
    # Absent regions are zeros.
    vision = keras.layers.Masking()(VISION * REGIONS[..., np.newaxis])
    outputs = layer(language, vision)
    for output, mask in zip(outputs, (WORDS, REGIONS), strict=True):
        np.testing.assert_array_equal(output._keras_mask, mask == 1)
    expected = layer(language.numpy(), vision.numpy(), WORDS, REGIONS)
    assert_equal(outputs, expected)
    unmasked = layer(language.numpy(), vision.numpy())
    assert all(np.abs(one - other).max() > 1e-3 for one, other in zip(outputs, unmasked))


def test_a_pooled_output_has_no_mask():
    embedding, ids = masked_embedding()
    hidden = embedding(ids)
    outputs = {
        "self": SelfAttention(2, pooled_only=True)(hidden),
        "cross": CrossModalityLayer(2, 12, pooled_only=True)(hidden, VISION),
        "pooler": Pooler(16)(hidden),
    }
    masks = {name: getattr(output, "_keras_mask", None) for name, output in outputs.items()}
    assert masks == dict.fromkeys(outputs)


def test_a_keras_mask_reaches_every_layer_of_a_functional_model(tmp_path):
    embedding, ids = masked_embedding()
    tokens = keras.Input([None], dtype="int32")
    hidden = embedding(tokens)
    for i in range(2):
        hidden = TransformerLayer(2, 12, initializer_range=0.4, name=f"layer_{i}")(hidden)
    # Averages over the words that the mask keeps.
    model = keras.Model(tokens, keras.layers.GlobalAveragePooling1D()(hidden))
    output = model.predict(ids, verbose=0)
    longer = np.pad(ids, [(0, 0), (0, 3)])
    np.testing.assert_allclose(model.predict(longer, verbose=0), output, rtol=0, atol=1e-5)
    model.save(tmp_path / "model.keras")
    back = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(back.predict(ids, verbose=0), output)


def test_a_layer_works_in_a_model_of_ones_own(tmp_path):
    hidden, mask = keras.Input([None, 16]), keras.Input([None])
    output = TransformerLayer(2, 12, name="mine")(hidden, mask)
    model = keras.Model([hidden, mask], keras.layers.GlobalAveragePooling1D()(output))
    model.compile("adam", "mse")
    model.fit([LANGUAGE, WORDS], np.zeros([3, 16]), verbose=0)
    model.save(tmp_path / "own.keras")
    back = keras.models.load_model(tmp_path / "own.keras")
    expected = model.predict([LANGUAGE, WORDS], verbose=0)
    np.testing.assert_array_equal(back.predict([LANGUAGE, WORDS], verbose=0), expected)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="the width 16 is not a multiple of num_heads 3"):
        SelfAttention(3)(LANGUAGE)


def test_masked_positions_get_the_constant_of_the_reference():
    bias = attention_bias(np.array([[1, 0], [1, 1]]))
    assert bias.shape == (2, 1, 1, 2)
    np.testing.assert_array_equal(bias[:, 0, 0], [[0, -10000], [0, 0]])


@pytest.mark.parametrize("dtype", [np.float32, tf.bfloat16.as_numpy_dtype])
def test_layer_norm_keeps_its_precision_beside_a_large_mean(dtype):
    # Whole numbers around 4096 + k * 32, which bfloat16 holds exactly; a mean or variance taken
    # in bfloat16 would be off by as much as the numbers differ.
    hidden = (4096 + 32 * RANDOM.integers(0, 8, [6, 64])).astype(dtype)
    exact = hidden.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    policy = "float32" if dtype == np.float32 else "mixed_bfloat16"
    output = LayerNorm(dtype=policy)(hidden)
    assert output.dtype == dtype
    # The output's own rounding: 2^-9 of up to about 2 in bfloat16.
    atol = 1e-4 if dtype == np.float32 else 0.008
    np.testing.assert_allclose(output.numpy().astype(np.float64), exact, rtol=0, atol=atol)


def test_layer_norm_takes_inputs_of_any_rank():
    layer = LayerNorm()
    expected = layer(LANGUAGE)
    rows = layer(LANGUAGE.reshape(-1, 16))
    np.testing.assert_array_equal(rows, tf.reshape(expected, [-1, 16]))


def test_self_attention_equals_its_formula_in_numpy():
    layer = SelfAttention(2, initializer_range=0.4)
    output, probabilities = layer(LANGUAGE, WORDS, output_attentions=True)
    kernel, bias, out_kernel, out_bias, gamma, beta = (
        w.astype(np.float64) for w in layer.get_weights()
    )
    hidden = LANGUAGE.astype(np.float64)
    query, key, value = np.split(hidden @ kernel + bias, 3, axis=-1)
    contexts = []
    for head in range(2):
        columns = slice(8 * head, 8 * head + 8)
        scores = query[..., columns] @ key[..., columns].transpose(0, 2, 1) / math.sqrt(8)
        weights = np.exp(scores) * WORDS[:, None]
        weights /= weights.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(probabilities[:, head], weights, rtol=0, atol=1e-6)
        contexts.append(weights @ value[..., columns])
    total = np.concatenate(contexts, axis=-1) @ out_kernel + out_bias + hidden
    normal = (total - total.mean(-1, keepdims=True)) / total.std(-1, keepdims=True)
    np.testing.assert_allclose(output, normal * gamma + beta, rtol=0, atol=1e-5)
    pooled = SelfAttention(2, pooled_only=True)
    pooled.build(LANGUAGE.shape)
    pooled.set_weights(layer.get_weights())
    first, of_first = pooled(LANGUAGE, WORDS, output_attentions=True)
    np.testing.assert_allclose(first, output[:, 0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(of_first, probabilities[:, :, :1], rtol=0, atol=1e-6)


def test_cross_attention_treats_both_directions_alike():
    layer = CrossAttention(2, initializer_range=0.4)
    language, vision, to_vision, to_language = layer(*BOTH, output_attentions=True)
    swapped = layer(VISION, LANGUAGE, REGIONS, WORDS, output_attentions=True)
    for ours, theirs in zip((vision, language, to_language, to_vision), swapped):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)
    # Each direction reads the other side's input: a change of one region reaches every word.
    other = VISION.copy()
    other[:, 0] += 1
    moved = layer(LANGUAGE, other, WORDS, REGIONS)[0]
    assert (np.abs(moved - language).max(axis=-1) > 1e-4).all()


def test_pooled_cross_attention_gives_the_language_side_and_both_maps():
    layer = CrossAttention(2, initializer_range=0.4)
    language, _, *attentions = layer(*BOTH, output_attentions=True)
    pooled = CrossAttention(2, pooled_only=True)
    pooled.build(LANGUAGE.shape)
    pooled.set_weights(layer.get_weights())
    np.testing.assert_allclose(pooled(*BOTH), language, rtol=0, atol=1e-5)
    assert_equal(pooled(*BOTH, output_attentions=True), (language, *attentions), atol=1e-5)


def test_pooled_only_gives_the_first_token_and_freezes_the_vision_side():
    full = CrossModalityLayer(2, 12, initializer_range=0.4)
    language, _, *attentions = full(*BOTH, output_attentions=True)
    pooled = CrossModalityLayer(2, 12, initializer_range=0.4, pooled_only=True)
    pooled(*BOTH)
    for ours, theirs in zip(
        sorted(pooled.weights, key=lambda v: v.name.split("/", 1)[1]),
        sorted(full.weights, key=lambda v: v.name.split("/", 1)[1]),
    ):
        ours.assign(theirs)
    first, *maps = pooled(*BOTH, output_attentions=True)
    np.testing.assert_allclose(first, language[:, 0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(pooled(*BOTH), first, rtol=0, atol=1e-5)
    for ours, theirs in zip(maps, attentions, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    frozen = {weight.name for weight in pooled.non_trainable_weights}
    assert frozen and all("/vision_" in name for name in frozen)
    pooled.trainable = False
    assert pooled.trainable_weights == []
    pooled.trainable = True
    assert {weight.name for weight in pooled.non_trainable_weights} == frozen


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
    np.testing.assert_allclose(pooler(LANGUAGE), output, rtol=0, atol=1e-6)


def test_initial_weights_are_normal_with_the_given_deviation_and_biases_zero():
    keras.utils.set_random_seed(0)
    layer = TransformerLayer(2, 24, initializer_range=0.02)
    layer.build([None, None, 128])
    for variable in layer.weights:
        if "kernel" in variable.name:
            assert float(tf.math.reduce_std(variable)) == pytest.approx(0.02, rel=0.05)
        else:
            assert set(variable.numpy().ravel()) == {1.0 if "gamma" in variable.name else 0.0}
