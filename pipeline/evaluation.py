"""Evaluation with TensorFlow Model Analysis (TFMA): metric, slices, thresholds and results."""

import json
from collections.abc import Iterable, Iterator

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2  # `tfma` lacks parts of it in TFMA 0.52

from lxmert_tf.data import schema
from lxmert_tf.evaluation import nlvr
from lxmert_tf.evaluation.evaluate import OVERALL
from lxmert_tf.evaluation.score_report import (
    ACCURACY,
    CONSISTENCY,
    NO_TYPE,
    OVERALL_GROUP,
    Score,
    ScoreReport,
)
from pipeline.consistency import SENTENCES, Consistency
from pipeline.statement_slices import LENGTH, PHENOMENON

METRIC = "soft_accuracy"
# Accuracy is also computed for every value of these features.
SLICES = (
    schema.QUESTION_TYPE,
    schema.ANSWER_TYPE,
    schema.SENTENCE_SOURCE,
    schema.REGION_COUNT,
)
STATEMENT_SLICES = (PHENOMENON, LENGTH)
# {value of a feature: (soft accuracy in 0..1, number of questions)}
AccuracyByValue = dict[str, tuple[float, int]]


def evaluation_config(
    least_accuracy: float,
    may_drop: float,
    slices: Iterable[str] = SLICES,
    ignore_case: bool = False,
    challenge: str | None = None,
) -> config_pb2.EvalConfig:
    """Build the configuration of the Evaluator.

    Args:
        least_accuracy: Soft accuracy over all questions that a model must reach, in 0..1.
        may_drop: How far it may be below the accuracy of the last blessed model.
        slices: Features to slice by.
        ignore_case: Whether answers match in any case.
        challenge: "nlvr" or "nlvr2", for its consistency, and for NLVR the slices by phenomenon
            and by sentence length; None for other questions.
    """
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": least_accuracy}),
        change_threshold=config_pb2.GenericChangeThreshold(
            direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
            # The small tolerance is for rounding of the difference.
            absolute={"value": -may_drop - 1e-9},
        ),
    )
    # A `threshold` without slicing specs would apply to every slice, however small.
    overall = config_pb2.PerSliceMetricThreshold(
        slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold
    )
    metrics = [
        config_pb2.MetricConfig(class_name="ExampleCount"),
        config_pb2.MetricConfig(
            class_name=SoftAccuracy.__name__,
            module=SoftAccuracy.__module__,
            config=json.dumps({"ignore_case": ignore_case}),
            per_slice_thresholds=[overall],
        ),
    ]
    if challenge is not None:
        metrics.append(
            config_pb2.MetricConfig(
                class_name=Consistency.__name__,
                module=Consistency.__module__,
                config=json.dumps({"challenge": challenge}),
            )
        )
    if challenge == "nlvr":
        slices = (*slices, *STATEMENT_SLICES)
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(signature_name="serve_examples")],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[feature]) for feature in slices),
        ],
    )


class SoftAccuracy(tfma.metrics.Metric):
    """VQA accuracy: the mean soft score of the top answers.

    Compares the prediction `answers` (best first) with the answers of the record itself, so that
    a question counts even if none of its answers is in the model's answer table.

    Args:
        name: Name of the metric.
        ignore_case: Whether answers match in any case, e.g. "true" and "True".
    """

    def __init__(self, name: str = METRIC, ignore_case: bool = False):
        super().__init__(_computations, name=name, ignore_case=ignore_case)


def _computations(
    name: str, ignore_case: bool, model_names: list[str] | None = None
) -> tfma.metrics.MetricComputations:
    inputs = metric_types.StandardMetricInputsPreprocessor(
        include_filter={
            tfma.PREDICTIONS_KEY: {},
            tfma.FEATURES_KEY: {schema.ANSWER_TEXT: {}, schema.ANSWER_SCORE: {}},
        },
        include_default_inputs=False,
    )
    # TFMA names the models (candidate and baseline) only if there are two.
    keys = [tfma.metrics.MetricKey(name, model_name=model) for model in model_names or [""]]
    return [
        tfma.metrics.MetricComputation(
            keys=[key], preprocessors=[inputs], combiner=_MeanEarnedScore(key, ignore_case)
        )
        for key in keys
    ]


class _MeanEarnedScore(beam.CombineFn):
    """Combiner with the accumulator (sum of earned scores, number of questions)."""

    def __init__(self, key: tfma.metrics.MetricKey, ignore_case: bool):
        self._key = key
        self._normalized = bytes.lower if ignore_case else bytes

    def create_accumulator(self):
        return 0.0, 0

    def add_input(self, accumulator, element):
        predictions = element.get_by_key(tfma.PREDICTIONS_KEY, self._key.model_name)
        features = element[tfma.FEATURES_KEY]
        top = self._normalized(predictions["answers"].ravel()[0])
        # TFMA omits a feature that no record of the batch has.
        texts, scores = features.get(schema.ANSWER_TEXT), features.get(schema.ANSWER_SCORE)
        answers = zip(_values(texts), _values(scores))
        earned = sum(score for text, score in answers if self._normalized(text) == top)
        return accumulator[0] + float(earned), accumulator[1] + 1

    def merge_accumulators(self, accumulators):
        earned, questions = zip(*accumulators)
        return sum(earned), sum(questions)

    def extract_output(self, accumulator):
        earned, questions = accumulator
        return {self._key: earned / questions if questions else float("nan")}


def _values(feature):
    return [] if feature is None else feature.ravel()


def load_accuracy(uri: str, model_name: str = "") -> dict[str, AccuracyByValue]:
    """Load the soft accuracy of a model from the Evaluator's output.

    Args:
        uri: The `evaluation` artifact.
        model_name: "candidate" or "baseline" if two models were compared, otherwise "".

    Returns:
        A table for every feature of the slices, and one with the only row "all" under "all".
    """
    tables: dict[str, AccuracyByValue] = {}
    for feature, value, metrics in _load_slices(uri, model_name):
        table = tables.setdefault(feature, {})
        table[value or NO_TYPE] = (metrics[METRIC], int(metrics["example_count"]))
    return {feature: dict(sorted(table.items(), key=_order)) for feature, table in tables.items()}


def _order(item: tuple[str, tuple[float, int]]):
    # Sorts numbers of regions, and of words ("8 to 9 words"), numerically.
    first, _, _ = item[0].partition(" ")
    return (int(first), item[0]) if first.isdecimal() else (-1, item[0])


def load_scores(uri: str, challenge: str, model_name: str = "") -> ScoreReport:
    """Load the official scores of statements from the Evaluator's output.

    Args:
        uri: The `evaluation` artifact.
        challenge: As for `evaluation_config`.
        model_name: As for `load_accuracy`.

    Returns:
        What `lxmert_tf.evaluation.official.score` returns for the same statements.
    """
    tables = load_accuracy(uri, model_name)
    [(share, count)] = tables[OVERALL].values()
    overall = [_score(ACCURACY, share, count)]
    for feature, _, metrics in _load_slices(uri, model_name):
        if feature == OVERALL and (sentences := int(metrics[SENTENCES])):
            overall.append(_score(CONSISTENCY, metrics[CONSISTENCY], sentences))
    groups = {OVERALL_GROUP: tuple(overall)}
    for group, feature in ((nlvr.PHENOMENON, PHENOMENON), (nlvr.LENGTH, LENGTH)):
        if feature in tables:
            groups[group] = tuple(_score(name, *of) for name, of in tables[feature].items())
    return ScoreReport(challenge, groups)


def _score(name: str, share: float, count: int) -> Score:
    # A statement earns 0 or 1, so the points are whole, and this divides as `Score.mean` does.
    return Score(name, 100 * round(share * count) / count, count)


def _load_slices(uri: str, model_name: str) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield feature, value, and metrics of each slice."""
    for key, outputs in tfma.load_eval_result(uri, model_name=model_name).slicing_metrics:
        [(feature, value)] = key or [(OVERALL, OVERALL)]
        metrics = {name: value["doubleValue"] for name, value in outputs[""][""].items()}
        yield feature, str(value), metrics


def load_failures(uri: str) -> list[str]:
    """Load the missed thresholds from the Evaluator's output.

    Args:
        uri: The `evaluation` artifact.

    Returns:
        A line for each missed threshold, with the metric, its value and the threshold.
    """
    return [
        _failure(failure)
        for slice_validation in tfma.load_validation_result(uri).metric_validations_per_slice
        for failure in slice_validation.failures
    ]


def _failure(failure) -> str:
    metric, threshold = failure.metric_key, failure.metric_threshold
    if threshold.HasField("value_threshold"):
        bound = threshold.value_threshold.lower_bound.value
    else:
        bound = threshold.change_threshold.absolute.value
    measured = "change from the blessed model" if metric.is_diff else "value"
    value = failure.metric_value.double_value.value
    return f"{metric.name}: the {measured} is {value:.4f}, the threshold {bound:.4f}"
