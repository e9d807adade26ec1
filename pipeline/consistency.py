"""The Evaluator's metric of statements in groups: the share of sentences that are all right."""

from collections.abc import Callable, Hashable

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics import metric_types

from lxmert_tf.data import schema
from lxmert_tf.evaluation import nlvr, nlvr2
from lxmert_tf.evaluation.score_report import CONSISTENCY

# The number of sentences, beside the metric.
SENTENCES = "sentences"


class Consistency(tfma.metrics.Metric):
    """The share of sentences whose examples are all answered right, and the number of sentences.

    Args:
        name: Name of the metric.
        challenge: "nlvr" (Suhr et al. 2017) or "nlvr2" (Suhr et al. 2019), whose ids tell the
            sentence. Ids that are not of NLVR2's form are left out; if all are, the share is NaN.
    """

    def __init__(self, name: str = CONSISTENCY, challenge: str = "nlvr"):
        super().__init__(_computations, name=name, challenge=challenge)


def _computations(
    name: str, challenge: str, model_names: list[str] | None = None
) -> tfma.metrics.MetricComputations:
    inputs = metric_types.StandardMetricInputsPreprocessor(
        include_filter={
            tfma.PREDICTIONS_KEY: {},
            tfma.FEATURES_KEY: {schema.SENTENCE_ID: {}, schema.ANSWER_TEXT: {}},
        },
        include_default_inputs=False,
    )
    computations = []
    for model in model_names or [""]:
        keys = [tfma.metrics.MetricKey(key, model_name=model) for key in (name, SENTENCES)]
        combiner = _AllRight(keys, challenge)
        computations.append(
            tfma.metrics.MetricComputation(keys=keys, preprocessors=[inputs], combiner=combiner)
        )
    return computations


def _nlvr_sentence(name: str) -> Hashable:
    return nlvr.sentence_of(nlvr.without_split(name))


def _nlvr2_sentence(name: str) -> Hashable:
    return nlvr2.sentence_of(name) if nlvr2.has_four_parts(name) else None


_SENTENCE_OF: dict[str, Callable[[str], Hashable]] = {
    "nlvr": _nlvr_sentence,
    "nlvr2": _nlvr2_sentence,
}


class _AllRight(beam.CombineFn):
    """Combiner whose accumulator is a dict from sentence to whether all answers were right."""

    def __init__(self, keys: list[tfma.metrics.MetricKey], challenge: str):
        self._keys = keys
        self._challenge = challenge

    def create_accumulator(self):
        return {}

    def add_input(self, accumulator, element):
        features = element[tfma.FEATURES_KEY]
        sentence = _SENTENCE_OF[self._challenge](features[schema.SENTENCE_ID].ravel()[0].decode())
        if sentence is None:
            return accumulator
        predictions = element.get_by_key(tfma.PREDICTIONS_KEY, self._keys[0].model_name)
        top = predictions["answers"].ravel()[0].lower()
        # TFMA omits a feature that no record of the batch has.
        answers = features.get(schema.ANSWER_TEXT)
        is_right = answers is not None and top in {text.lower() for text in answers.ravel()}
        accumulator[sentence] = accumulator.get(sentence, True) and is_right
        return accumulator

    def merge_accumulators(self, accumulators):
        merged: dict[Hashable, bool] = {}
        for accumulator in accumulators:
            for sentence, is_right in accumulator.items():
                merged[sentence] = merged.get(sentence, True) and is_right
        return merged

    def extract_output(self, accumulator):
        share, sentences = self._keys
        consistent = sum(accumulator.values())
        return {
            share: consistent / len(accumulator) if accumulator else float("nan"),
            sentences: float(len(accumulator)),
        }
