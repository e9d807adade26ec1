"""What every model class promises: outputs, optional inputs, `fit`, configs, names."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertConfig, LxmertPretrainer
from tests.lxmert_tf.samples import CONFIG, MODEL_CLASSES, config, model_inputs, named_outputs

B, T, R, H = 3, 7, 5, CONFIG.hidden_size
SHAPES = {
    LxmertBackbone: {
        "language_output": (B, T, H),
        "vision_output": (B, R, H),
        "pooled_output": (B, H),
    },
    LxmertAnswerClassifier: {"answer_logits": (B, CONFIG.num_answers)},
    LxmertPretrainer: {
        "masked_lm_logits": (B, T, CONFIG.vocab_size),
        "matched_logits": (B, 2),
        "object_logits": (B, R, CONFIG.num_objects),
        "attribute_logits": (B, R, CONFIG.num_attributes),
        "region_feature_predictions": (B, R, CONFIG.region_feature_size),
        "answer_logits": (B, CONFIG.num_answers),
    },
}


@pytest.fixture(scope="module", params=MODEL_CLASSES, ids=lambda cls: cls.__name__)
def model(request):
    keras.utils.set_random_seed(1)
    return request.param(CONFIG)


def assert_equal_outputs(outputs, expected, atol=0.0):
    outputs, expected = named_outputs(outputs), named_outputs(expected)
    assert set(outputs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=0, atol=atol, err_msg=name)


def test_outputs_have_the_names_and_shapes_of_the_contract(model):
    outputs = named_outputs(model(model_inputs()))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == SHAPES[type(model)]
    assert {value.dtype for value in outputs.values()} == {tf.float32}


def test_left_out_segments_are_zeros(model):
    inputs = model_inputs()
    assert inputs["segment_ids"].any()
    with_zeros = {**inputs, "segment_ids": np.zeros_like(inputs["segment_ids"])}
    without = {name: value for name, value in inputs.items() if name != "segment_ids"}
    assert_equal_outputs(model(without), model(with_zeros))
    with pytest.raises(AssertionError):
        assert_equal_outputs(model(without), model(inputs), atol=1e-3)


def test_a_left_out_region_mask_is_ones(model):
    inputs = model_inputs()
    assert not inputs["region_mask"].all()
    with_ones = {**inputs, "region_mask": np.ones_like(inputs["region_mask"])}
    without = {name: value for name, value in inputs.items() if name != "region_mask"}
    assert_equal_outputs(model(without), model(with_ones))
    with pytest.raises(AssertionError):
        assert_equal_outputs(model(without), model(inputs), atol=1e-3)


@pytest.mark.parametrize("dtype", ["bool", "float32", "int64"])
def test_masks_may_have_any_type(model, dtype):
    inputs = model_inputs()
    masks = {name: inputs[name].astype(dtype) for name in ("padding_mask", "region_mask")}
    assert_equal_outputs(model({**inputs, **masks}), model(inputs))


@pytest.mark.parametrize("name", ["token_ids", "padding_mask", "region_features", "region_boxes"])
def test_a_missing_input_is_named(model, name):
    inputs = {key: value for key, value in model_inputs().items() if key != name}
    with pytest.raises(ValueError, match=f"inputs lack {name}; given are"):
        model(inputs)


def test_a_graph_for_all_sizes_computes_what_the_eager_model_does(model):
    spec = {
        name: tf.TensorSpec([None, None, *value.shape[2:]], value.dtype)
        for name, value in model_inputs().items()
    }
    compiled = tf.function(model, input_signature=[spec])
    for inputs in (model_inputs(), model_inputs([3, 9], [2, 2], seed=3)):
        # Another order of the same float32 sums.
        assert_equal_outputs(compiled(inputs), model(inputs), atol=1e-5)


# The pre-trainer has losses of its own, which the golden numbers test.
@pytest.mark.parametrize(
    "cls", [pytest.param(LxmertBackbone, marks=pytest.mark.slow), LxmertAnswerClassifier]
)
def test_fit_evaluate_and_predict_agree_with_calls(cls):
    # One layer in all, because Keras traces the model three times.
    keras.utils.set_random_seed(1)
    model = cls(config(language_layers=0, relationship_layers=0, cross_layers=1))
    inputs = model_inputs(tokens=[5, 4, 7, 2], regions=[5, 3, 1, 2])
    targets = {
        name: np.random.default_rng(0).normal(size=value.shape).astype(np.float32)
        for name, value in named_outputs(model(inputs)).items()
    }
    if isinstance(model, LxmertAnswerClassifier):
        targets = targets["answer_logits"]
    model.compile(keras.optimizers.SGD(0.02), loss="mse")
    before = model.evaluate(inputs, targets, batch_size=2, verbose=0, return_dict=True)["loss"]
    by_hand = tf.nest.map_structure(
        lambda target, output: np.mean((target - output) ** 2), targets, model(inputs)
    )
    assert before == pytest.approx(sum(tf.nest.flatten(by_hand)), rel=1e-5)

    history = model.fit(inputs, targets, batch_size=2, epochs=5, verbose=0, shuffle=False)
    losses = history.history["loss"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.97 * before
    assert_equal_outputs(model.predict(inputs, batch_size=2, verbose=0), model(inputs), atol=1e-5)


def test_every_trainable_weight_gets_a_gradient(model):
    with tf.GradientTape() as tape:
        outputs = named_outputs(model(model_inputs(), training=True))
        # The mean of LayerNormed outputs is constant: squares of a shifted sum are not.
        loss = tf.add_n([tf.reduce_mean((value - 0.3) ** 4) for value in outputs.values()])
    gradients = tape.gradient(loss, model.trainable_variables)
    assert [v.name for v, g in zip(model.trainable_variables, gradients) if g is None] == []
    dead = [
        variable.name
        for variable, gradient in zip(model.trainable_variables, gradients)
        if not tf.reduce_any(tf.convert_to_tensor(gradient) != 0)
    ]
    assert dead == []


def test_dropout_is_on_in_training_alone():
    for cls in MODEL_CLASSES:
        model = cls(config(language_layers=0, cross_layers=1, hidden_dropout=0.5))
        assert_equal_outputs(model(model_inputs()), model(model_inputs(), training=False))
        with pytest.raises(AssertionError):
            assert_equal_outputs(
                model(model_inputs(), training=True), model(model_inputs()), atol=1e-2
            )


def test_weights_have_names_that_say_where_they_are(model):
    names = [variable.name.removesuffix(":0") for variable in model.weights]
    assert len(set(names)) == len(names)
    assert "language_embeddings/word_embeddings" in names
    assert "language_layer_0/self_attention/query_key_value/kernel" in names
    assert "language_layer_2/feed_forward/residual_norm/norm/gamma" in names
    # Names that Keras makes up, such as dense_7 or layer_normalization, say nothing.
    assert [name for name in names if "dense_" in name or "layer_normalization" in name] == []


def test_cross_attention_has_one_set_of_weights_for_both_directions(model):
    backbone = getattr(model, "backbone", model)
    layer = backbone.cross_modality_layers[0]
    # One kernel and one bias each for queries-keys-values and output, gamma and beta.
    count = 3 * H * H + 3 * H + H * H + H + 2 * H
    assert layer.cross_attention.count_params() == count
    assert len(layer.cross_attention.weights) == 6
    feed_forward = H * CONFIG.intermediate_size * 2 + CONFIG.intermediate_size + H + 2 * H
    assert layer.count_params() == 3 * count + 2 * feed_forward


def expected_count(sizes: LxmertConfig) -> int:
    """How many numbers the paper's pre-training model has, by its description."""
    h, f = sizes.hidden_size, sizes.intermediate_size
    norm = 2 * h
    attention = 4 * (h * h + h) + norm
    feed_forward = h * f + f + f * h + h + norm
    single = (sizes.language_layers + sizes.relationship_layers) * (attention + feed_forward)
    cross = sizes.cross_layers * (3 * attention + 2 * feed_forward)
    rows = sizes.vocab_size + sizes.max_position_embeddings + sizes.type_vocab_size
    regions = (sizes.region_feature_size + 4) * h + 2 * h + 2 * norm
    transform = h * h + h + norm
    labels = sizes.num_objects + sizes.num_attributes + sizes.region_feature_size
    answers = h * 2 * h + 2 * h + 2 * norm + (2 * h + 1) * sizes.num_answers
    heads = transform + sizes.vocab_size + transform + (h + 1) * labels + 2 * (h + 1) + answers
    return single + cross + rows * h + norm + regions + (h * h + h) + heads


def test_the_model_has_the_published_number_of_weights():
    assert LxmertPretrainer(CONFIG).count_params() == expected_count(CONFIG)
    # "228 million" is what the release's checkpoint has.
    assert round(expected_count(LxmertConfig()) / 1e6) == 228


def test_weights_of_the_last_vision_side_are_not_trained_for_answers():
    frozen = {v.name for v in LxmertAnswerClassifier(CONFIG).non_trainable_variables}
    prefix = "cross_modality_layer_1/vision_"
    assert {name[: len(prefix)] for name in frozen} == {prefix}
    assert LxmertPretrainer(CONFIG).non_trainable_variables == []


def test_the_masked_lm_head_reads_the_word_embeddings():
    model = LxmertPretrainer(CONFIG)
    before = model(model_inputs())["masked_lm_logits"].numpy()
    unused = int(np.setdiff1d(np.arange(CONFIG.vocab_size), model_inputs()["token_ids"])[0])
    table = model.backbone.word_embeddings
    table.assign(tf.tensor_scatter_nd_add(table, [[unused]], tf.one_hot([3], H)))
    change = model(model_inputs())["masked_lm_logits"].numpy() - before
    # Only that word's logit moves, by one number of the head's hidden state.
    assert np.abs(np.delete(change, unused, axis=-1)).max() == 0
    assert np.abs(change[..., unused]).max() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": ["a"]}, "vocabulary has 1 entries but config.vocab_size is 50"),
        ({"answers": ["a", "b"]}, "answers has 2 entries but config.num_answers is 17"),
    ],
)
def test_lists_of_another_length_than_the_config_says_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LxmertAnswerClassifier(CONFIG, **arguments)


def test_answers_about_a_cached_image_state_equal_answers_about_the_image():
    model = LxmertAnswerClassifier(CONFIG)
    inputs = model_inputs()
    state = model.backbone.encode_image(
        inputs["region_features"], inputs["region_boxes"], inputs["region_mask"]
    )
    question = model.encode_question(inputs)
    logits = model.answer_pairs(question, inputs["padding_mask"], state, inputs["region_mask"])
    # The image is encoded with its padding here and without it there: products of other shapes,
    # which some processors add up in another order.
    np.testing.assert_allclose(logits, model(inputs), rtol=0, atol=1e-5)
