"""Slices of NLVR's statements by phenomenon and by sentence length, which no record holds.

TFX's Evaluator imports the module by its name and calls `custom_extractors`.
"""

from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma

from lxmert_tf.data import schema
from lxmert_tf.evaluation.phenomena import find_phenomena, length_group

# Features that the extractor adds to those of the record.
PHENOMENON = "statement/phenomenon"
LENGTH = "statement/length"


def custom_extractors(
    eval_shared_model, eval_config, tensor_adapter_config
) -> list[tfma.extractors.Extractor]:
    """Return TFMA's default extractors, and before the one of slices ours, which adds features."""
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    ours = tfma.extractors.Extractor("ExtractStatements", beam.Map(add_statement_features))
    return [*extractors[:-1], ours, extractors[-1]]


def add_statement_features(extracts: dict[str, Any]) -> dict[str, Any]:
    """Return TFMA's extracts of a flat record with the features `PHENOMENON` and `LENGTH`."""
    features = extracts[tfma.FEATURES_KEY]
    [text] = features[schema.SENTENCE_TEXT].ravel()
    statement = text.decode()
    added = {PHENOMENON: find_phenomena(statement), LENGTH: (length_group(statement),)}
    arrays = {name: np.array([v.encode() for v in values]) for name, values in added.items()}
    return {**extracts, tfma.FEATURES_KEY: {**features, **arrays}}
