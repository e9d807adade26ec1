"""Findings of TensorFlow Data Validation (TFDV): anomalies, skew and drift."""

from collections.abc import Collection, Mapping
from typing import NamedTuple, TypeAlias

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

Statistics: TypeAlias = statistics_pb2.DatasetFeatureStatisticsList

# The splits that must resemble `train`.
COMPARED = ("validation", "test")

_COMPARATORS = frozenset(
    value
    for name, value in anomalies_pb2.AnomalyInfo.Type.items()
    if name.startswith("COMPARATOR_")
)


class Finding(NamedTuple):
    """One rule of the schema that the data breaks.

    Args:
        feature: The name of the feature; empty if the finding is about a whole split.
        where: The split, or the two data sets that were compared.
        rule: The broken rule, with the measured value and the limit.
    """

    feature: str
    where: str
    rule: str

    def __str__(self) -> str:
        subject = f"{self.feature} of {self.where}" if self.feature else self.where
        return f"{subject}: {self.rule}"


def anomaly_findings(split: str, anomalies: anomalies_pb2.Anomalies) -> list[Finding]:
    """Return the anomalies that ExampleValidator found in a split."""
    where = f"the split {split}"
    findings = [Finding("", where, "has no examples")] if anomalies.data_missing else []
    if anomalies.HasField("dataset_anomaly_info"):
        findings.append(Finding("", where, anomalies.dataset_anomaly_info.description))
    return findings + _feature_findings(where, anomalies)


def skew_findings(statistics: Mapping[str, Statistics], schema: schema_pb2.Schema) -> list[Finding]:
    """Compare `validation` and `test` with `train`; pre-training may be on other data.

    Args:
        statistics: Statistics by split.
        schema: The schema; its `skew_comparator`s set the limits.

    Returns:
        The features that differ by more than their limit.
    """
    train = statistics["train"]
    findings = []
    for split in filter(statistics.__contains__, COMPARED):
        other = statistics[split]
        if _has_examples(train) and _has_examples(other):
            found = tfdv.validate_statistics(train, schema, serving_statistics=other)
            findings += _feature_findings(f"train compared with {split}", found, _COMPARATORS)
    return findings


def drift_findings(
    statistics: Mapping[str, Statistics],
    previous: Mapping[str, Statistics],
    schema: schema_pb2.Schema,
) -> list[Finding]:
    """Compare each split with the same split of an earlier run.

    Args:
        statistics: Statistics by split.
        previous: Statistics of the earlier run by split.
        schema: The schema; its `drift_comparator`s set the limits.

    Returns:
        The features that differ by more than their limit.
    """
    findings = []
    for split in sorted(statistics.keys() & previous.keys()):
        now, before = statistics[split], previous[split]
        if _has_examples(now) and _has_examples(before):
            found = tfdv.validate_statistics(now, schema, previous_statistics=before)
            findings += _feature_findings(f"{split} since the last run", found, _COMPARATORS)
    return findings


def _feature_findings(
    where: str, anomalies: anomalies_pb2.Anomalies, kinds: Collection[int] | None = None
) -> list[Finding]:
    return [
        Finding(name, where, f"{reason.short_description}: {reason.description}")
        for name, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
        if kinds is None or reason.type in kinds
    ]


def _has_examples(statistics: Statistics) -> bool:
    return any(dataset.num_examples for dataset in statistics.datasets)
