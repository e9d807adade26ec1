"""The TFX component that stops a run whose data is not fit for training."""

import os

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx
from tfx.dsl.component.experimental.decorators import component

from lxmert_tf.errors import GateError
from pipeline.data_validation import anomaly_findings, drift_findings, skew_findings

fileio = tfx.dsl.io.fileio
standard = tfx.types.standard_artifacts
InputArtifact, OutputArtifact = (
    tfx.dsl.components.InputArtifact,
    tfx.dsl.components.OutputArtifact,
)
# How TFX names the folders of splits.
PREFIX = "Split-"
STATISTICS_FILE = "FeatureStats.pb"
# More would not fit into a line that a person reads.
MOST_FINDINGS = 3


class ApprovedStatistics(tfx.dsl.Artifact):
    """The statistics of data that a model was trained on, for the next run to compare with."""

    # In the form that Kubeflow wants: lower case, a dot, a name.
    TYPE_NAME = "lxmert.ApprovedStatistics"


class LatestApprovedStrategy(tfx.dsl.experimental.ResolverStrategy):
    """The newest artifact, or none in the first run."""

    def resolve_artifacts(self, store, input_dict):
        """As TFX asks."""
        return {
            name: sorted(artifacts, key=lambda artifact: artifact.id)[-1:]
            for name, artifacts in input_dict.items()
        }


@component
def AnomalyGate(
    anomalies: InputArtifact[standard.ExampleAnomalies],
    statistics: InputArtifact[standard.ExampleStatistics],
    schema: InputArtifact[standard.Schema],
    approved: OutputArtifact[ApprovedStatistics],
    previous: InputArtifact[ApprovedStatistics] = None,
):
    """Raises GateError, with feature and rule, for an anomaly, a skew or a drift.

    The anomalies are ExampleValidator's. Skew is between `train` and the other splits, drift
    between a split and what it was in the last run that passed; the schema says how much is too
    much.
    """
    rules = tfdv.load_schema_text(os.path.join(schema.uri, "schema.pbtxt"))
    now = _load_statistics(statistics.uri)
    findings = [
        finding
        for split in _splits(anomalies.uri)
        for finding in anomaly_findings(split, _load_anomalies(anomalies.uri, split))
    ]
    findings += skew_findings(now, rules)
    if previous is not None:
        findings += drift_findings(now, _load_statistics(previous.uri), rules)
    if findings:
        told = "; ".join(map(str, findings[:MOST_FINDINGS]))
        more = len(findings) - MOST_FINDINGS
        raise GateError(
            f"the data was not trained on: {told}{f'; and {more} more' if more > 0 else ''}"
        )
    for name, value in now.items():
        path = _path(approved.uri, name, STATISTICS_FILE)
        fileio.makedirs(os.path.dirname(path))
        with fileio.open(path, "wb") as file:
            file.write(value.SerializeToString())


def _load_statistics(uri: str):
    return {
        split: tfdv.load_stats_binary(_path(uri, split, STATISTICS_FILE)) for split in _splits(uri)
    }


def _load_anomalies(uri: str, split: str) -> anomalies_pb2.Anomalies:
    with fileio.open(_path(uri, split, "SchemaDiff.pb"), "rb") as file:
        return anomalies_pb2.Anomalies.FromString(file.read())


def _splits(uri: str) -> list[str]:
    # Some filesystems end the names of folders with a slash.
    names = (name.rstrip("/") for name in fileio.listdir(uri))
    return sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))


def _path(uri: str, split: str, name: str) -> str:
    return os.path.join(uri, f"{PREFIX}{split}", name)
