"""The TFX component that stops a run before training if the data is not fit for it."""

import os

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.v1.dsl.components import InputArtifact, OutputArtifact

from lxmert_tf.errors import GateError
from pipeline.data_validation import anomaly_findings, drift_findings, skew_findings

fileio = tfx.dsl.io.fileio
# TFX's names for the folders of splits and their files.
SPLIT_PREFIX = "Split-"
STATISTICS_FILE = "FeatureStats.pb"
ANOMALIES_FILE = "SchemaDiff.pb"
# The error message stays one readable line.
MAX_REPORTED_FINDINGS = 3


class ApprovedStatistics(tfx.dsl.Artifact):
    """Statistics of data that passed the gate, for the next run to compare with."""

    # Kubeflow accepts names of the form "lowercase.Name", by which containers import the class.
    TYPE_NAME = "pipeline.ApprovedStatistics"


class LatestApprovedStrategy(tfx.dsl.experimental.ResolverStrategy):
    """Resolver strategy that finds the newest artifact, or none in the first run."""

    def resolve_artifacts(self, store, input_dict):
        """Return the newest artifact of each input."""
        return {
            name: sorted(artifacts, key=lambda artifact: artifact.id)[-1:]
            for name, artifacts in input_dict.items()
        }


@component
def AnomalyGate(
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    statistics: InputArtifact[standard_artifacts.ExampleStatistics],
    schema: InputArtifact[standard_artifacts.Schema],
    approved: OutputArtifact[ApprovedStatistics],
    previous: InputArtifact[ApprovedStatistics] = None,
):
    """Raise GateError if the data has an anomaly, skew or drift.

    Skew is a difference between `train` and another split. Drift is a difference between a split
    and the same split in the last run that passed. The comparators of the schema set the limits.

    Args:
        anomalies: The result of ExampleValidator.
        statistics: The result of StatisticsGen.
        schema: The schema with its skew and drift comparators.
        approved: Output; the statistics, written if the data passes.
        previous: The statistics of the last run that passed, if there was one.
    """
    limits = tfdv.load_schema_text(os.path.join(schema.uri, "schema.pbtxt"))
    current = _load_statistics(statistics.uri)
    findings = [
        finding
        for split in _splits(anomalies.uri)
        for finding in anomaly_findings(split, _load_anomalies(anomalies.uri, split))
    ]
    findings += skew_findings(current, limits)
    if previous is not None:
        findings += drift_findings(current, _load_statistics(previous.uri), limits)
    if findings:
        reported = "; ".join(map(str, findings[:MAX_REPORTED_FINDINGS]))
        if len(findings) > MAX_REPORTED_FINDINGS:
            reported += f"; and {len(findings) - MAX_REPORTED_FINDINGS} more"
        raise GateError(f"the data is not fit for training: {reported}")
    for split, value in current.items():
        path = _path(approved.uri, split, STATISTICS_FILE)
        fileio.makedirs(os.path.dirname(path))
        with fileio.open(path, "wb") as file:
            file.write(value.SerializeToString())


def _load_statistics(uri: str):
    return {
        split: tfdv.load_stats_binary(_path(uri, split, STATISTICS_FILE)) for split in _splits(uri)
    }


def _load_anomalies(uri: str, split: str) -> anomalies_pb2.Anomalies:
    with fileio.open(_path(uri, split, ANOMALIES_FILE), "rb") as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


def _splits(uri: str) -> list[str]:
    # Some filesystems end the names of folders with a slash.
    names = (name.rstrip("/") for name in fileio.listdir(uri))
    return sorted(
        name.removeprefix(SPLIT_PREFIX) for name in names if name.startswith(SPLIT_PREFIX)
    )


def _path(uri: str, split: str, name: str) -> str:
    return os.path.join(uri, f"{SPLIT_PREFIX}{split}", name)
