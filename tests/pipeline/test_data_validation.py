"""Anomalies, skew and drift that TFDV finds in made-up data with the pipeline's schema."""

import numpy as np
import pandas
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline.data_validation import anomaly_findings, drift_findings, skew_findings
from pipeline.pipeline import SCHEMA_FILE

SCHEMA = tfdv.load_schema_text(SCHEMA_FILE)


def statistics_of(shares: dict[str, float], feature="sentences/question_type", size=200):
    """Return statistics of a split whose values have these shares."""
    values = [value for value, share in shares.items() for _ in range(round(share * size))]
    return tfdv.generate_statistics_from_dataframe(pandas.DataFrame({feature: values}))


EVEN = {"color": 0.5, "shape": 0.5}


@pytest.mark.parametrize("feature", ["sentences/question_type", "answers/text"])
@pytest.mark.parametrize(
    "other, limit", [({"color": 0.7, "shape": 0.3}, None), ({"color": 0.9, "shape": 0.1}, "0.4")]
)
def test_skew_is_found_when_a_split_has_other_shares_than_train(feature, other, limit):
    splits = {"train": statistics_of(EVEN, feature), "test": statistics_of(other, feature)}
    findings = skew_findings(splits, SCHEMA)
    if limit is None:
        assert findings == []
        return
    [finding] = findings
    assert (finding.feature, finding.where) == (feature, "train compared with test")
    assert limit in finding.rule and "0.25" in finding.rule


def test_pretraining_may_have_other_answers_than_training():
    splits = {"train": statistics_of(EVEN), "lessons": statistics_of({"number": 1.0})}
    assert skew_findings(splits, SCHEMA) == []


def test_drift_is_found_since_the_last_run_in_the_split_that_changed():
    before = {"train": statistics_of(EVEN), "test": statistics_of(EVEN)}
    now = {"train": statistics_of({"color": 0.9, "shape": 0.1}), "test": statistics_of(EVEN)}
    [finding] = drift_findings(now, before, SCHEMA)
    assert (finding.feature, finding.where) == (
        "sentences/question_type",
        "train since the last run",
    )
    assert drift_findings(before, before, SCHEMA) == []
    # A new split has no earlier statistics to drift from.
    assert drift_findings(now, {"test": before["test"]}, SCHEMA) == []


def test_drift_of_numbers_is_found_by_their_distribution():
    few, many = (
        tfdv.generate_statistics_from_dataframe(
            pandas.DataFrame({"regions/count": np.arange(100) % 4 + start})
        )
        for start in (1, 30)
    )
    [finding] = drift_findings({"train": many}, {"train": few}, SCHEMA)
    assert finding.feature == "regions/count" and "Jensen-Shannon" in finding.rule


def test_anomalies_name_feature_split_and_rule():
    statistics = tfdv.generate_statistics_from_dataframe(
        pandas.DataFrame({"image/width": [640, 0], "image/secret": ["a", "b"]})
    )
    anomalies = tfdv.validate_statistics(statistics, SCHEMA)
    lines = [str(finding) for finding in anomaly_findings("train", anomalies)]
    assert any(
        line.startswith("image/width of the split train: Out-of-range values:") for line in lines
    )
    assert any(line.startswith("image/secret of the split train: New column:") for line in lines)
    assert any(line.startswith("image/id of the split train: Column dropped:") for line in lines)


def test_empty_split_is_reported_and_not_compared():
    empty = statistics_pb2.DatasetFeatureStatisticsList(
        datasets=[statistics_pb2.DatasetFeatureStatistics(num_examples=0)]
    )
    anomalies = tfdv.validate_statistics(empty, SCHEMA)
    assert "the split train: has no examples" in map(str, anomaly_findings("train", anomalies))
    assert skew_findings({"train": empty, "test": statistics_of(EVEN)}, SCHEMA) == []
