"""The TFX component that stops a run whose data is not fit for training."""

import pathlib

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import v1 as tfx
from tfx.dsl.component.experimental.decorators import component

from lxmert_tf.errors import GateError
from pipeline.data_findings import anomaly_findings, drift_findings, skew_findings

standard = tfx.types.standard_artifacts
InputArtifact, OutputArtifact = (
    tfx.dsl.components.InputArtifact,
    tfx.dsl.components.OutputArtifact,
)
STATISTICS_FILE = "FeatureStats.pb"
# More would not fit into a line that a person reads.
MOST_FINDINGS = 3


class ApprovedStatistics(tfx.dsl.Artifact):
    """The statistics of data that a model was trained on, for the next run to compare with."""

    TYPE_NAME = "ApprovedStatistics"


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
    rules = tfdv.load_schema_text(str(pathlib.Path(schema.uri) / "schema.pbtxt"))
    now = _load_statistics(statistics.uri)
    findings = [
        finding
        for folder in _splits(anomalies.uri)
        for finding in anomaly_findings(_name(folder), _load_anomalies(folder))
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
        folder = pathlib.Path(approved.uri) / f"Split-{name}"
        folder.mkdir(parents=True)
        (folder / STATISTICS_FILE).write_bytes(value.SerializeToString())


def _load_statistics(uri: str):
    return {
        _name(folder): tfdv.load_stats_binary(str(folder / STATISTICS_FILE))
        for folder in _splits(uri)
    }


def _load_anomalies(folder: pathlib.Path) -> anomalies_pb2.Anomalies:
    return anomalies_pb2.Anomalies.FromString((folder / "SchemaDiff.pb").read_bytes())


def _splits(uri: str) -> list[pathlib.Path]:
    return sorted(pathlib.Path(uri).glob("Split-*"))


def _name(folder: pathlib.Path) -> str:
    return folder.name.removeprefix("Split-")
