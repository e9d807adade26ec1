"""Every model class behaves as Keras models do: graph, `fit`, freezing, and all ways of saving."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import (
    BertAdamW,
    LxmertAnswerClassifier,
    LxmertBackbone,
    LxmertPairClassifier,
    LxmertPretrainer,
    SoftAccuracy,
    SoftAnswerLoss,
    WarmupLinearDecay,
)
from tests.lxmert_tf.keras_checks import assert_equal, check_model
from tests.lxmert_tf.models.test_packed_models import (
    answer_inputs,
    pair_inputs,
    pretraining_targets,
)
from tests.lxmert_tf.samples import CONFIG, config, model_inputs

SMALL = config(language_layers=1, cross_layers=1, num_answers=3)
TOKENS, REGIONS = (4, 2, 3), (3, 1, 2)


def optimizer():
    return BertAdamW(WarmupLinearDecay(1e-3, 100, 0.1))


def backbone_case():
    inputs = model_inputs(TOKENS, REGIONS)
    targets = {
        "language_output": np.zeros([3, 4, CONFIG.hidden_size], np.float32),
        "vision_output": np.zeros([3, 3, CONFIG.hidden_size], np.float32),
        "pooled_output": np.zeros([3, CONFIG.hidden_size], np.float32),
    }
    return inputs, targets, lambda model: model.compile(optimizer(), "mse")


def answer_case():
    scores = np.float32([[1, 0, 0.3], [0, 0.6, 0], [0, 0, 1]])
    inputs = answer_inputs(TOKENS, REGIONS)
    return inputs, scores, lambda m: m.compile(optimizer(), SoftAnswerLoss(), [SoftAccuracy()])


def pair_case():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    inputs, labels = pair_inputs(TOKENS, REGIONS), np.int32([1, 0, 1])
    return inputs, labels, lambda model: model.compile(optimizer(), loss, ["accuracy"])


def pretraining_case():
    inputs = model_inputs(TOKENS, REGIONS)
    targets = pretraining_targets(inputs)
    targets["answer_labels"] %= SMALL.num_answers
    arguments = {"loss_weights": {"answers": 0.5}, "metrics": ["accuracy"]}
    return inputs, targets, lambda model: model.compile(optimizer(), **arguments)


CASES = {
    LxmertBackbone: backbone_case,
    LxmertAnswerClassifier: answer_case,
    LxmertPairClassifier: pair_case,
    LxmertPretrainer: pretraining_case,
}
# One class stands for the others, whose graphs take long to trace.
CLASSES = [
    cls if cls is LxmertAnswerClassifier else pytest.param(cls, marks=pytest.mark.slow)
    for cls in CASES
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_model_behaves_as_keras_models_do(cls, tmp_path):
    keras.utils.set_random_seed(0)
    inputs, targets, compile_model = CASES[cls]()
    check_model(cls(SMALL), inputs, targets, compile_model, tmp_path)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_attentions_by_default_change_nothing_that_fit_sees(cls):
    inputs, targets, compile_model = CASES[cls]()
    model = cls(SMALL, output_attentions=True)
    assert "attentions" in model(inputs)
    compile_model(model)
    model.run_eagerly = True
    assert np.isfinite(model.fit(inputs, targets, verbose=0).history["loss"]).all()
    assert np.isfinite(model.evaluate(inputs, targets, verbose=0, return_dict=True)["loss"])
    predicted = model.predict(inputs, verbose=0)
    assert "attentions" not in (predicted if isinstance(predicted, dict) else {})


@pytest.mark.slow
@pytest.mark.parametrize("cls", [LxmertAnswerClassifier, LxmertPretrainer])
def test_mixed_precision_and_xla_train(cls):
    inputs, targets, _ = CASES[cls]()
    model = cls(SMALL, dtype="mixed_bfloat16")
    assert (model.compute_dtype, model.dtype_policy.name) == ("bfloat16", "mixed_bfloat16")
    loss = {} if cls is LxmertPretrainer else {"loss": SoftAnswerLoss()}
    model.compile(optimizer(), jit_compile=cls is LxmertAnswerClassifier, **loss)
    assert np.isfinite(model.fit(inputs, targets, verbose=0).history["loss"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)
def test_xla_computes_the_steps_of_a_plain_model(cls):
    inputs, targets, compile_model = CASES[cls]()
    sizes = config(language_layers=0, relationship_layers=0, cross_layers=1, num_answers=3)

    def trained(**arguments):
        keras.utils.set_random_seed(0)
        model = cls(sizes)
        compile_model(model)
        model.jit_compile, model.run_eagerly = arguments["jit"], not arguments["jit"]
        return model.fit(inputs, targets, epochs=2, verbose=0).history

    expected = trained(jit=False)
    for name, values in trained(jit=True).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_frozen_model_goes_on_training_after_it_is_loaded(tmp_path):
    inputs, targets, compile_model = answer_case()
    model = LxmertAnswerClassifier(SMALL)
    model.dropout_seed, model.packing = 7, False
    model.backbone.language_embeddings.freeze_first_rows = True
    model.backbone.trainable = False
    compile_model(model)
    model.run_eagerly = True
    model.fit(inputs, targets, verbose=0)
    model.save(tmp_path / "model.keras")
    back = keras.models.load_model(tmp_path / "model.keras")
    assert len(back.trainable_weights) == len(model.trainable_weights) == 6
    assert int(back.optimizer.iterations) == 1
    assert (back.dropout_seed, back.packing) == (7, False)
    assert back.backbone.language_embeddings.freeze_first_rows


def test_weights_have_one_order_with_and_without_pooled_only(tmp_path):
    backbone = LxmertBackbone(SMALL)
    backbone.save_weights(tmp_path / "weights.h5")
    pooled = LxmertBackbone(SMALL, pooled_only=True)
    pooled.load_weights(tmp_path / "weights.h5")
    inputs = model_inputs(TOKENS, REGIONS)
    expected = backbone(inputs)["pooled_output"]
    np.testing.assert_allclose(pooled(inputs)["pooled_output"], expected, rtol=0, atol=1e-5)


def test_the_pretrainer_refuses_arguments_that_it_would_ignore():
    inputs, targets, _ = pretraining_case()
    model = LxmertPretrainer(SMALL)
    with pytest.raises(ValueError, match="takes metrics, not weighted_metrics"):
        model.compile(optimizer(), weighted_metrics=["accuracy"])
    with pytest.raises(ValueError, match="accumulation_steps above 1 need jit_compile=False"):
        model.compile(optimizer(), accumulation_steps=2, jit_compile=True)
    model.compile(optimizer(), run_eagerly=True)
    with pytest.raises(ValueError, match="the pre-training losses take no sample_weight"):
        model.train_on_batch(inputs, targets, sample_weight=np.ones(3))


def test_the_backbone_can_be_frozen_alone():
    model = LxmertAnswerClassifier(SMALL)
    model.backbone.trainable = False
    assert {id(w) for w in model.trainable_weights} == {id(w) for w in model.answer_head.weights}


def test_a_layer_of_the_graph_can_be_read():
    backbone = LxmertBackbone(SMALL)
    inputs = model_inputs(TOKENS, REGIONS)
    layer = backbone.get_layer("language_layer_0").output
    first = keras.Model(backbone.input, layer)({k: tf.constant(v) for k, v in inputs.items()})
    state = backbone.encode_text(
        *(inputs[name] for name in ("token_ids", "segment_ids", "padding_mask"))
    )
    np.testing.assert_allclose(first, state, rtol=0, atol=1e-6)


def test_compiled_metrics_of_the_pretrainer_count_labeled_positions_alone():
    inputs, targets, _ = pretraining_case()
    model = LxmertPretrainer(SMALL)
    model.compile(optimizer(), metrics={"masked_lm_logits": "accuracy", "object_logits": ["acc"]})
    told = model.evaluate(inputs, targets, verbose=0, return_dict=True)
    assert told["masked_lm_logits_accuracy"] == pytest.approx(told["masked_lm_accuracy"])
    assert told["object_logits_accuracy"] == pytest.approx(told["objects_accuracy"])
    with pytest.raises(ValueError, match="two metrics of object_logits are named 'accuracy'"):
        model.compile(optimizer(), metrics={"object_logits": ["acc", "accuracy"]})
    with pytest.raises(ValueError, match="metrics names 'answers'; it must be one of masked"):
        model.compile(optimizer(), metrics={"answers": "accuracy"})
    with pytest.raises(ValueError, match="the losses are those of the pre-training tasks"):
        model.compile(optimizer(), loss="mse")


def test_a_metric_of_the_pretrainer_is_the_one_that_was_given():
    inputs, targets, _ = pretraining_case()
    model = LxmertPretrainer(SMALL)
    mine = keras.metrics.SparseCategoricalAccuracy(name="mine")
    model.compile(optimizer(), metrics={"masked_lm_logits": mine}, run_eagerly=True)
    told = model.evaluate(inputs, targets, verbose=0, return_dict=True)
    assert mine in model.metrics
    assert told["masked_lm_logits_mine"] == float(mine.result()) == told["masked_lm_accuracy"]
    assert list(told) == model.metrics_names
    # A list is for every output, so each has a copy.
    model.compile(optimizer(), metrics=[mine], run_eagerly=True)
    names = [name for name in model.metrics_names if name.endswith("_mine")]
    assert len(names) == 5 and mine not in model.metrics


def test_the_graph_of_the_pretrainer_is_a_model_that_can_be_saved(tmp_path):
    inputs, _, _ = pretraining_case()
    model = LxmertPretrainer(SMALL)
    keras.Model(model.inputs, model.outputs).save(tmp_path / "graph.keras")
    back = keras.models.load_model(tmp_path / "graph.keras")
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    assert_equal(back(tensors), tf.nest.flatten(model(inputs)), atol=1e-5)
    # The words are in it once: the head reads the table of the embeddings.
    assert len(back.weights) == len(model.weights)


def test_fit_without_targets_is_refused():
    inputs, _, compile_model = answer_case()
    model = LxmertAnswerClassifier(SMALL)
    compile_model(model)
    model.run_eagerly = True
    with pytest.raises(ValueError, match="no targets, which the compiled loss needs"):
        model.fit(inputs, verbose=0)


def test_plot_model_draws_the_layers(tmp_path):
    pytest.importorskip("pydot", reason="needs pydot")
    import shutil

    if not shutil.which("dot"):
        pytest.skip("needs graphviz's dot")
    keras.utils.plot_model(LxmertBackbone(SMALL), tmp_path / "backbone.png", show_shapes=True)
    assert (tmp_path / "backbone.png").stat().st_size > 10_000
