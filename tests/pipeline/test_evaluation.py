"""The Evaluator's metric and thresholds, compared with results by hand."""

import apache_beam as beam
import numpy as np
import pytest
import tensorflow_model_analysis as tfma
from apache_beam.testing.util import assert_that
from tensorflow_model_analysis.evaluators import metrics_validator

from lxmert_tf.data import schema
from pipeline.consistency import SENTENCES, Consistency
from pipeline.evaluation import METRIC, SoftAccuracy, evaluation_config
from pipeline.statement_slices import LENGTH, PHENOMENON, add_statement_features

CANDIDATE, BASELINE = "candidate", "baseline"


def extracts(top, answers):
    """Return TFMA's extracts of one question: the prediction and the record's features."""
    features = {}
    if answers is not None:
        features[schema.ANSWER_TEXT] = np.array([text for text, _ in answers], object)
        features[schema.ANSWER_SCORE] = np.array([score for _, score in answers], np.float32)
    return {
        tfma.FEATURES_KEY: features,
        tfma.PREDICTIONS_KEY: {"answers": np.array([[top, b"second best"]], object)},
        tfma.LABELS_KEY: None,
    }


QUESTIONS = [
    (b"red", [(b"red", 1.0)], 1.0),
    (b"blue", [(b"red", 1.0)], 0.0),
    # Soft scores: three of ten people gave the top answer.
    (b"two", [(b"three", 0.9), (b"two", 0.3)], 0.3),
    # The top answer is wrong, though the second best is right.
    (b"four", [(b"second best", 1.0)], 0.0),
    # A question without answers earns nothing.
    (b"four", [], 0.0),
    (b"four", None, 0.0),
]


def test_soft_accuracy_is_the_mean_score_of_the_top_answers():
    [computation] = SoftAccuracy().computations()
    elements = [extracts(top, answers) for top, answers, _ in QUESTIONS]
    expected = sum(earned for _, _, earned in QUESTIONS) / len(QUESTIONS)

    def check(results):
        [(key, value)] = results[0].items()
        assert (len(results), key.name) == (1, METRIC)
        # The record's scores are float32, in which 0.3 is off by 1e-8.
        assert value == pytest.approx(expected, abs=1e-8)

    with beam.Pipeline() as pipeline:
        result = (
            pipeline
            | beam.Create(elements)
            | beam.Map(lambda e: tfma.metrics.StandardMetricInputs(e))
            | beam.CombineGlobally(computation.combiner)
        )
        assert_that(result, check)


def test_accumulators_merge_to_the_same_result_however_they_are_split():
    [computation] = SoftAccuracy().computations()
    combiner = computation.combiner
    parts = []
    for rows in (QUESTIONS[:2], QUESTIONS[2:5], QUESTIONS[5:], []):
        part = combiner.create_accumulator()
        for top, answers, _ in rows:
            element = tfma.metrics.StandardMetricInputs(extracts(top, answers))
            part = combiner.add_input(part, element)
        parts.append(part)
    [value] = combiner.extract_output(combiner.merge_accumulators(parts)).values()
    assert value == pytest.approx(1.3 / 6, abs=1e-8)


def validate(candidate, baseline, least_accuracy, may_drop, slice_key=()):
    """Return TFMA's verdict on a model under our configuration."""
    config = evaluation_config(least_accuracy, may_drop)
    has_baseline = baseline is not None
    config = tfma.utils.update_eval_config_with_defaults(
        config, has_baseline=has_baseline, rubber_stamp=not has_baseline
    )
    if has_baseline:
        key = tfma.metrics.MetricKey(METRIC, CANDIDATE, example_weighted=False)
        change = tfma.metrics.MetricKey(METRIC, CANDIDATE, example_weighted=False, is_diff=True)
        other = tfma.metrics.MetricKey(METRIC, BASELINE, example_weighted=False)
        metrics = {key: candidate, other: baseline, change: candidate - baseline}
    else:
        metrics = {tfma.metrics.MetricKey(METRIC, example_weighted=False): candidate}
    return metrics_validator.validate_metrics((slice_key, metrics), config).validation_ok


@pytest.mark.parametrize(
    "candidate, least, good",
    [(0.99, 0.99, True), (0.9899, 0.99, False), (1.0, 1.0, True), (0.0, 0.0, True)],
)
def test_model_alone_must_reach_the_least_accuracy(candidate, least, good):
    assert validate(candidate, None, least, 0.0) == good


@pytest.mark.parametrize(
    "candidate, baseline, may_drop, good",
    [
        (0.8, 0.8, 0.0, True),
        (0.9, 0.8, 0.0, True),
        (0.7999, 0.8, 0.0, False),
        (0.795, 0.8, 0.005, True),
        (0.7949, 0.8, 0.005, False),
        # Close enough to the blessed one, but below the absolute threshold.
        (0.499, 0.5, 0.01, False),
    ],
)
def test_model_may_be_worse_than_the_blessed_one_by_may_drop(candidate, baseline, may_drop, good):
    assert validate(candidate, baseline, 0.5, may_drop) == good


@pytest.mark.parametrize("baseline", [None, 0.9])
def test_thresholds_apply_to_all_questions_not_to_each_type(baseline):
    kind = ((schema.QUESTION_TYPE, "color"),)
    assert validate(0.1, baseline, 0.5, 0.0, slice_key=kind)
    assert not validate(0.1, baseline, 0.5, 0.0)


def consistency(challenge, verdicts):
    """Return the consistency and number of sentences of {id of a statement: whether it is right}.

    Each statement is in an accumulator of its own.
    """
    [computation] = Consistency(challenge=challenge).computations()
    combiner = computation.combiner
    parts = []
    for name, is_right in verdicts.items():
        element = extracts(b"true", [(b"True" if is_right else b"False", 1.0)])
        element[tfma.FEATURES_KEY][schema.SENTENCE_ID] = np.array([name.encode()], object)
        element = tfma.metrics.StandardMetricInputs(element)
        parts.append(combiner.add_input(combiner.create_accumulator(), element))
    result = combiner.extract_output(combiner.merge_accumulators(parts))
    return {key.name: value for key, value in result.items()}


@pytest.mark.parametrize(
    ("challenge", "verdicts", "share", "sentences"),
    [
        # Two examples of the sentence 72, and one of the sentence 7.
        ("nlvr", {"dev-72-0-0": 1, "dev-72-0-1": 1, "dev-72-3-0": 1, "dev-7-0-0": 0}, 0.5, 2),
        ("nlvr", {"dev-72-0-0": 1, "dev-72-3-0": 0, "dev-7-0-0": 1}, 0.5, 2),
        # Two pairs of images, then another statement about the first, and another set.
        ("nlvr2", {"dev-1-0-0": 1, "dev-1-1-0": 0, "dev-1-0-1": 1, "dev-2-0-0": 1}, 2 / 3, 3),
        ("nlvr2", {"dev-1-0-0": 1, "of my own": 0}, 1.0, 1),
    ],
)
def test_consistency_needs_all_examples_of_a_sentence(challenge, verdicts, share, sentences):
    expected = {"consistency": pytest.approx(share), SENTENCES: sentences}
    assert consistency(challenge, verdicts) == expected


def test_consistency_of_ids_of_another_form_is_not_a_number():
    result = consistency("nlvr2", {"mine": 1})
    assert np.isnan(result["consistency"]) and result[SENTENCES] == 0


def test_statements_get_features_to_slice_by():
    before = extracts(b"True", None)
    text = np.array([b"There are two black blocks."], object)
    before[tfma.FEATURES_KEY][schema.SENTENCE_TEXT] = text
    after = add_statement_features(before)[tfma.FEATURES_KEY]
    assert after[PHENOMENON].tolist() == [b"color", b"counting"]
    assert after[LENGTH].tolist() == [b"1 to 7 words"]
    assert PHENOMENON not in before[tfma.FEATURES_KEY]
