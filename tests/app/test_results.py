"""What the page shows of a training."""

import os

import pytest

pytest.importorskip("gradio")

from lxmert_tf.app.results import Results, read_results
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.confusion import Confusion


def test_the_newest_card_and_the_report_of_a_pipeline_are_read(tmp_path):
    (tmp_path / "report.html").write_text("report")
    for number, written in (("4", 2000), ("3", 1000)):
        extra = tmp_path / "Trainer" / "model" / number / "Format-Serving" / "assets.extra"
        extra.mkdir(parents=True)
        (extra / "model_card.md").write_text(f"card {number}")
        os.utime(extra / "model_card.md", (written, written))
    assert read_results(tmp_path) == Results(report="report", card="card 4")


def test_a_training_has_curves(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 5, "loss": 2}\n')
    assert "loss over 5 steps" in read_results(tmp_path).curves


def test_predictions_alone_are_results(tmp_path):
    confusion = Confusion("model")
    confusion.counts["yes", "no"] = 2
    confusion.write(tmp_path / "predictions.json")
    assert read_results(tmp_path).confusion.counts == {("yes", "no"): 2}
    (tmp_path / "predictions.json").write_text("{}")
    with pytest.raises(InputError, match=r"predictions\.json"):
        read_results(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no results; give the root of a pipeline"):
        read_results(tmp_path)
    with pytest.raises(InputError, match="results not found"):
        read_results(tmp_path / "none")
