"""The SavedModel's signatures: their names and specs, and that they agree with each other."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from lxmert_tf import LxmertAnswerClassifier, LxmertTextPreprocessor
from lxmert_tf.errors import InputError
from lxmert_tf.serving.export import export_answer_model, export_version
from lxmert_tf.serving.signatures import AnswerModule
from tests.serving.signature_specs import (
    ANSWERS,
    QUESTION,
    REGIONS,
    H,
    K,
    described,
    signature_defs,
)
from tests.serving.tiny import SIZES


def contract(answers):
    return {
        "serving_default": (QUESTION | REGIONS, ANSWERS),
        "serve_examples": (
            {"examples": ("string", [None])},
            ANSWERS | {"probabilities": ("float32", [None, answers])},
        ),
        "encode_image": (REGIONS, {"image_state": ("float32", [None, None, H])}),
        "answer_about_image": (
            QUESTION | {"image_state": ("float32", [1, None, H])},
            ANSWERS,
        ),
        "encode_question": (QUESTION, {"question_state": ("float32", [None, None, H])}),
        "answer_pairs": (
            {name: ("float32", [None, None, H]) for name in ("question_state", "image_state")},
            ANSWERS,
        ),
    }


def test_signatures_on_disk_are_those_of_the_contract(tiny, keras_model):
    found = {
        name: (described(signature.inputs), described(signature.outputs))
        for name, signature in signature_defs(tiny.saved_model).items()
    }
    assert found == contract(len(keras_model.answers))


def test_loaded_model_offers_exactly_these_signatures(signatures, keras_model):
    assert set(signatures) == set(contract(len(keras_model.answers)))


def test_each_function_is_stored_once_and_without_gradients(tiny):
    saved = saved_model_pb2.SavedModel.FromString(
        (tiny.saved_model / "saved_model.pb").read_bytes()
    )
    [graph] = saved.meta_graphs
    # Loading takes as long as there are functions, and a client has no use for a gradient.
    assert not graph.graph_def.library.gradient
    assert not graph.graph_def.library.registered_gradients
    nodes = [node for f in graph.graph_def.library.function for node in f.node_def]
    assert nodes and not any("_gradient_op_type" in node.attr for node in nodes)
    top_k = [node for node in nodes if node.op == "TopKV2"]
    # encode_image and encode_question give no answers.
    assert len(top_k) == len(contract(1)) - 2


def test_records_have_images_with_different_numbers_of_regions(batch):
    # Otherwise the tests of padding would prove nothing.
    assert len(set(batch["region_count"].numpy())) > 1


def test_all_ways_to_ask_give_the_answers_of_the_keras_model(
    signatures, keras_model, batch, flat_records
):
    mask = tf.sequence_mask(batch["region_count"], dtype=tf.int32)
    text = LxmertTextPreprocessor(keras_model.vocabulary)(batch["question"])
    regions = {name: batch[name] for name in ("region_features", "region_boxes")}
    logits = keras_model({**text, **regions, "region_mask": mask}, training=False)
    expected = tf.sigmoid(logits).numpy()
    # Questions must not all have one answer, or the comparison would see little.
    assert len(set(expected.argmax(axis=1))) > 1

    by_examples = signatures["serve_examples"](examples=tf.constant(flat_records))
    np.testing.assert_allclose(by_examples["probabilities"], expected, rtol=0, atol=1e-6)
    scores = -np.sort(-expected, axis=1)[:, :K]
    at_once = signatures["serving_default"](**batch)
    apart = [about_one_image(signatures, batch, i) for i in range(len(flat_records))]
    in_two_steps = {name: np.concatenate([a[name] for a in apart]) for name in at_once}
    in_pairs = signatures["answer_pairs"](**states_of(signatures, batch))
    for outputs in (at_once, by_examples, in_two_steps, in_pairs):
        np.testing.assert_allclose(outputs["scores"], scores, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(outputs["answers"], at_once["answers"])
    table = np.array([a.encode() for a in keras_model.answers], object)
    np.testing.assert_array_equal(at_once["answers"][:, 0], table[expected.argmax(axis=1)])


def about_one_image(signatures, batch, i):
    rows = {name: value[i : i + 1] for name, value in batch.items()}
    question = rows.pop("question")
    state = signatures["encode_image"](**rows)["image_state"]
    return signatures["answer_about_image"](question=question, image_state=state)


def states_of(signatures, batch):
    regions = {name: value for name, value in batch.items() if name != "question"}
    return {
        **signatures["encode_question"](question=batch["question"]),
        **signatures["encode_image"](**regions),
    }


def test_each_question_about_each_image_is_answered_as_if_asked_alone(signatures, batch):
    # The first and the last image, and questions of different lengths.
    images, questions = [0, len(batch["question"]) - 1], [0, 3, 5, 9]
    ask = {name: np.stack([batch[name][i] for i in images]) for name in batch}
    states = states_of(signatures, ask | {"question": tf.gather(batch["question"], questions)})
    pairs = [(question, image) for image in range(2) for question in range(4)]
    found = signatures["answer_pairs"](
        question_state=tf.gather(states["question_state"], [question for question, _ in pairs]),
        image_state=tf.gather(states["image_state"], [image for _, image in pairs]),
    )
    for row, (question, image) in enumerate(pairs):
        one = {name: value[image : image + 1] for name, value in ask.items()}
        one["question"] = batch["question"][questions[question] :][:1]
        alone = signatures["serving_default"](**one)
        np.testing.assert_allclose(found["scores"][row], alone["scores"][0], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found["answers"][row], alone["answers"][0])


def test_states_may_be_padded_with_zeros(signatures, batch):
    states = states_of(signatures, batch)
    assert not states["question_state"].numpy().all()
    longer = {name: np.pad(state, [(0, 0), (0, 3), (0, 0)]) for name, state in states.items()}
    plain, padded = (signatures["answer_pairs"](**given) for given in (states, longer))
    np.testing.assert_allclose(padded["scores"], plain["scores"], rtol=0, atol=1e-6)


def test_states_of_different_numbers_are_refused(signatures, batch):
    states = states_of(signatures, batch)
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in batch size"):
        signatures["answer_pairs"](**states | {"image_state": states["image_state"][:2]})


def test_equal_questions_and_images_of_a_request_are_encoded_once(
    keras_model, flat_records, grouped_records, batch, monkeypatch
):
    encoded = {"encode_question": 0, "encode_image": 0}

    def count(name):
        encode = getattr(keras_model, name)

        def counted(first, *others):
            encoded[name] += len(first["token_ids"] if isinstance(first, dict) else first)
            return encode(first, *others)

        monkeypatch.setattr(keras_model, name, counted)

    for name in encoded:
        count(name)
    module = AnswerModule(keras_model)
    tf.config.run_functions_eagerly(True)
    try:
        module.answer_examples(tf.constant(flat_records[::-1] + flat_records))
        questions = len(set(batch["question"].numpy()))
        assert questions < len(flat_records)
        assert encoded == {"encode_question": questions, "encode_image": len(grouped_records)}
        module.answer(**batch)
        assert encoded["encode_question"] == 2 * questions
    finally:
        tf.config.run_functions_eagerly(False)


def test_many_questions_about_one_image_are_answered_as_if_asked_alone(signatures, batch):
    one = {name: value[:1] for name, value in batch.items() if name != "question"}
    state = signatures["encode_image"](**one)["image_state"]
    together = signatures["answer_about_image"](question=batch["question"], image_state=state)
    assert together["scores"].shape[0] == len(batch["question"])
    for i in (0, 7):
        alone = signatures["serving_default"](question=batch["question"][i : i + 1], **one)
        # 1e-6 is what float32 keeps of a probability when sums run in another order.
        np.testing.assert_allclose(together["scores"][i], alone["scores"][0], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(together["answers"][i], alone["answers"][0])


@pytest.mark.parametrize("name", ["serving_default", "encode_image"])
def test_padded_regions_change_nothing(signatures, batch, name):
    inputs = {k: v for k, v in batch.items() if name == "serving_default" or k != "question"}
    plain = signatures[name](**inputs)
    real = tf.sequence_mask(batch["region_count"])[:, :, tf.newaxis]
    noise = tf.random.stateless_normal(batch["region_features"].shape, [1, 2], stddev=1000.0)
    boxes = tf.ones_like(batch["region_boxes"])
    garbage = {
        **inputs,
        "region_features": tf.where(real, batch["region_features"], noise),
        "region_boxes": tf.where(real, batch["region_boxes"], boxes),
    }
    wider = {
        **garbage,
        "region_features": tf.concat([garbage["region_features"], noise], axis=1),
        "region_boxes": tf.concat([garbage["region_boxes"], boxes], axis=1),
    }
    regions = batch["region_features"].shape[1]
    for outputs in (signatures[name](**garbage), signatures[name](**wider)):
        if name == "encode_image":
            outputs = {"image_state": outputs["image_state"][:, :regions]}
        for key in plain:
            if plain[key].dtype == tf.string:
                np.testing.assert_array_equal(outputs[key], plain[key])
            else:
                # States are of size 1; sums over more terms are rounded differently.
                np.testing.assert_allclose(outputs[key], plain[key], rtol=0, atol=1e-5)


def test_every_region_matters(signatures, batch):
    fewer = {**batch, "region_count": batch["region_count"] - 1}
    difference = (
        signatures["serving_default"](**fewer)["scores"]
        - (signatures["serving_default"](**batch)["scores"])
    )
    assert np.abs(difference).max() > 1e-3


def test_an_image_without_any_region_is_answered(signatures, batch):
    empty = {**batch, "region_count": tf.zeros_like(batch["region_count"])}
    scores = signatures["serving_default"](**empty)["scores"].numpy()
    assert np.isfinite(scores).all()
    state = signatures["encode_image"](**{k: v for k, v in empty.items() if k != "question"})
    assert not state["image_state"].numpy().any()


@pytest.mark.parametrize("name", ["serving_default", "encode_image"])
@pytest.mark.parametrize(
    "count, message",
    [(99, "region_count is larger than region_features holds"), (-1, "region_count is negative")],
)
def test_an_impossible_region_count_is_refused(signatures, batch, name, count, message):
    inputs = {k: v for k, v in batch.items() if name == "serving_default" or k != "question"}
    counts = batch["region_count"].numpy()
    counts[3] = count
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures[name](**inputs | {"region_count": tf.constant(counts)})


def test_grouped_record_is_refused(signatures, flat_records, grouped_records):
    mixed = tf.constant([flat_records[0], grouped_records[0]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have one sentence"):
        signatures["serve_examples"](examples=mixed)


def test_bytes_that_are_not_a_record_are_refused(signatures, flat_records):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not parse"):
        signatures["serve_examples"](examples=tf.constant([flat_records[0], b"no record"]))


def test_no_question_has_no_answers(signatures, batch):
    one = {name: value[:1] for name, value in batch.items() if name != "question"}
    state = signatures["encode_image"](**one)["image_state"]
    none = signatures["answer_about_image"](question=tf.constant([], tf.string), image_state=state)
    assert none["answers"].shape == none["scores"].shape == (0, K)
    none = signatures["serving_default"](**{name: value[:0] for name, value in batch.items()})
    assert none["answers"].shape == none["scores"].shape == (0, K)
    states = states_of(signatures, {name: value[:0] for name, value in batch.items()})
    none = signatures["answer_pairs"](**states)
    assert none["answers"].shape == none["scores"].shape == (0, K)


def test_scores_are_probabilities_and_come_best_first(signatures, batch):
    scores = signatures["serving_default"](**batch)["scores"].numpy()
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (scores > 0).all() and (scores < 1).all()


def test_more_answers_than_the_table_has_are_cut_to_the_table(keras_model, batch):
    module = AnswerModule(keras_model, top_k=len(keras_model.answers) + 7)
    answers = module.answer(**batch)["answers"].numpy()
    assert answers.shape == (len(batch["question"]), len(keras_model.answers))
    assert {a.decode() for a in answers[0]} == set(keras_model.answers)


def test_model_without_words_or_answers_cannot_be_served():
    config = dataclasses.replace(SIZES, vocab_size=9, num_answers=2)
    with pytest.raises(InputError, match="the model has no vocabulary, which serving needs"):
        AnswerModule(LxmertAnswerClassifier(config, answers=["no", "yes"]))
    model = LxmertAnswerClassifier(config, vocabulary=[f"piece {i}" for i in range(9)])
    with pytest.raises(InputError, match=r"answers of the model have no names; .* --answers FILE"):
        AnswerModule(model)


def test_an_unknown_precision_is_refused(keras_model, tmp_path):
    with pytest.raises(InputError, match="'int8'; a SavedModel has one of float32, bfloat16"):
        export_version(keras_model, tmp_path / "1", "int8")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_mixed_bfloat16_preset_is_exported_with_float32_outputs(tiny, signatures, batch, tmp_path):
    model = LxmertAnswerClassifier.from_preset(tiny.preset, dtype="mixed_bfloat16")
    export_answer_model(model, tmp_path / "half", top_k=len(model.answers))
    half = tf.saved_model.load(str(tmp_path / "half")).signatures
    one = about_one_image(half, batch, 0)
    all_scores = half["serving_default"](**batch)["scores"]
    assert all_scores.dtype == one["scores"].dtype == tf.float32
    # bfloat16 keeps 8 bits: 0.004 of each number, and the sums of four layers add up.
    np.testing.assert_allclose(
        all_scores[:, :K], signatures["serving_default"](**batch)["scores"], rtol=0, atol=0.05
    )
    np.testing.assert_allclose(one["scores"][0], all_scores[0], rtol=0, atol=0.02)
