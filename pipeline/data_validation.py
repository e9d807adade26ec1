"""What is wrong with the data, out of TensorFlow Data Validation: feature, split and rule."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

Statistics = statistics_pb2.DatasetFeatureStatisticsList

_COMPARATORS = frozenset(
    value
    for name, value in anomalies_pb2.AnomalyInfo.Type.items()
    if name.startswith("COMPARATOR_")
)


class Finding(NamedTuple):
    """One rule that one feature breaks.

    Args:
        feature: its name; empty if it is about a whole split.
        where: the split, or what was compared.
        rule: which rule, and by how much.
    """

    feature: str
    where: str
    rule: str

    def __str__(self) -> str:
        subject = f"{self.feature} of {self.where}" if self.feature else self.where
        return f"{subject}: {self.rule}"


def anomaly_findings(split: str, anomalies: anomalies_pb2.Anomalies) -> list[Finding]:
    """What ExampleValidator found in a split."""
    where = f"the split {split}"
    findings = [Finding("", where, "has no examples")] if anomalies.data_missing else []
    if anomalies.HasField("dataset_anomaly_info"):
        findings.append(Finding("", where, anomalies.dataset_anomaly_info.description))
    return findings + _of_features(where, anomalies, None)


def skew_findings(statistics: Mapping[str, Statistics], schema: schema_pb2.Schema) -> list[Finding]:
    """Where the splits besides `train` differ from it by more than a `skew_comparator` allows.

    Args:
        statistics: by split.
        schema: with the comparators.
    """
    train = statistics["train"]
    findings = []
    for split, other in statistics.items():
        if split != "train" and _has_examples(train) and _has_examples(other):
            found = tfdv.validate_statistics(train, schema, serving_statistics=other)
            findings += _of_features(f"train beside {split}", found, _COMPARATORS)
    return findings


def drift_findings(
    statistics: Mapping[str, Statistics],
    previous: Mapping[str, Statistics],
    schema: schema_pb2.Schema,
) -> list[Finding]:
    """Where a split differs from an earlier run's by more than a `drift_comparator` allows.

    Args:
        statistics, previous: by split.
        schema: with the comparators.
    """
    findings = []
    for split in sorted(statistics.keys() & previous.keys()):
        now, before = statistics[split], previous[split]
        if _has_examples(now) and _has_examples(before):
            found = tfdv.validate_statistics(now, schema, previous_statistics=before)
            findings += _of_features(f"{split} since the last run", found, _COMPARATORS)
    return findings


def _of_features(where: str, anomalies: anomalies_pb2.Anomalies, kinds) -> list[Finding]:
    return [
        Finding(name, where, f"{reason.short_description}: {reason.description}")
        for name, info in sorted(anomalies.anomaly_info.items())
        for reason in info.reason
        if kinds is None or reason.type in kinds
    ]


def _has_examples(statistics: Statistics) -> bool:
    return any(dataset.num_examples for dataset in statistics.datasets)
