"""What the Evaluator measures, by which slices, and what blesses a model."""

import json
from collections.abc import Iterable

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2  # TFMA 0.52 has not all in tfma

from lxmert_tf.data import schema

METRIC = "soft_accuracy"
# By whose values accuracy is told besides that of all questions.
SLICES = (
    schema.QUESTION_TYPE,
    schema.ANSWER_TYPE,
    schema.SENTENCE_SOURCE,
    schema.REGION_COUNT,
)


def evaluation_config(
    least_accuracy: float,
    may_drop: float,
    slices: Iterable[str] = SLICES,
    ignore_case: bool = False,
) -> config_pb2.EvalConfig:
    """The configuration of TFMA.

    Args:
        least_accuracy: the soft accuracy over all questions that a model must reach, 0..1.
        may_drop: how much below the blessed model's it may be.
        slices: features by whose values accuracy is also told.
        ignore_case: as of `SoftAccuracy`.
    """
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": least_accuracy}),
        change_threshold=config_pb2.GenericChangeThreshold(
            direction=config_pb2.MetricDirection.HIGHER_IS_BETTER,
            # The difference must not be below this; a little room for how it is rounded.
            absolute={"value": -may_drop - 1e-9},
        ),
    )
    # For all questions together: a `threshold` without a slice would hold for every slice, down to
    # the smallest.
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
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(signature_name="serve_examples")],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[feature]) for feature in slices),
        ],
    )


class SoftAccuracy(tfma.metrics.Metric):
    """VQA accuracy: the soft score that the top answer earns, averaged over the questions.

    Reads the prediction `answers` (best first) and the record's own answers and scores, so that
    an answer that is not in the model's table still counts against it.

    Args:
        name: of the metric.
        ignore_case: whether "true" is "True", as in training on statements.
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
    # One name if the model is alone; candidate and baseline if there is one to compare with.
    keys = [tfma.metrics.MetricKey(name, model_name=model) for model in model_names or [""]]
    return [
        tfma.metrics.MetricComputation(
            keys=[key], preprocessors=[inputs], combiner=_MeanEarnedScore(key, ignore_case)
        )
        for key in keys
    ]


class _MeanEarnedScore(beam.CombineFn):
    """Adds up (earned score, questions)."""

    def __init__(self, key: tfma.metrics.MetricKey, ignore_case: bool):
        self._key = key
        self._spelt = bytes.lower if ignore_case else bytes

    def create_accumulator(self):
        return 0.0, 0

    def add_input(self, accumulator, element):
        predictions = element.get_by_key(tfma.PREDICTIONS_KEY, self._key.model_name)
        features = element[tfma.FEATURES_KEY]
        top = self._spelt(predictions["answers"].ravel()[0])
        # Absent if no record of the batch has any answer.
        texts, scores = features.get(schema.ANSWER_TEXT), features.get(schema.ANSWER_SCORE)
        answers = zip(_values(texts), _values(scores))
        earned = sum(score for text, score in answers if self._spelt(text) == top)
        return accumulator[0] + float(earned), accumulator[1] + 1

    def merge_accumulators(self, accumulators):
        earned, questions = zip(*accumulators)
        return sum(earned), sum(questions)

    def extract_output(self, accumulator):
        earned, questions = accumulator
        return {self._key: earned / questions if questions else float("nan")}


def _values(feature):
    return [] if feature is None else feature.ravel()
