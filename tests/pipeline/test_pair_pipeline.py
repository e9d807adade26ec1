"""The pipeline on statements about two images (NLVR2): files to a pushed model and a submission.

It needs a run of its own, because the shared one trains a model for one image.
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (the SavedModel has its ops)

from lxmert_tf import LxmertPairClassifier
from lxmert_tf.cli import main as cli
from lxmert_tf.data import schema
from lxmert_tf.data.batches import find_records
from lxmert_tf.evaluation.evaluate import evaluate_answers, predict_answers
from lxmert_tf.evaluation.official import score
from lxmert_tf.evaluation.submissions import read_submission
from pipeline.config import load_pipeline
from pipeline.pipeline import create_components
from pipeline.run_record import RunRecord, read_last_run
from tests.pipeline.fake_docker_engine import running_engine
from tests.pipeline.ingest.job_files import write_regions
from tests.pipeline.tiny_pipeline import MODEL

TASK = """
task: statements
vocabulary_size: 200
max_regions: 8
batch_size: 8
epochs: 1
"""
PIPELINE = """
name: pairs
model: model.yaml
task: task.yaml
parts:
  train: &part
    regions: [{{files: ["{folder}/train.tsv"]}}]
    sentences: [{{files: ["{folder}/train.json"], format: nlvr2_release}}]
  test:
    regions: [{{files: ["{folder}/test.tsv"]}}]
    sentences: [{{files: ["{folder}/test.json"], format: nlvr2_release}}]
splits:
  train: {{from: train}}
  validation: {{from: test}}
  test: {{from: test, layout: flat}}
least_accuracy: 0.0
"""
PAIRS = {"train": 12, "test": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Configurations, and files with two statements about each pair of images."""
    folder = tmp_path_factory.mktemp("pairs")
    for name, pairs in PAIRS.items():
        ids = [f"{name}-{n}-0-img{side}" for n in range(pairs) for side in (0, 1)]
        write_regions(folder / f"{name}.tsv", ids)
        statements = [
            {
                "identifier": f"{name}-{n}-0-{number}",
                "img0": f"{name}-{n}-0-img0",
                "img1": f"{name}-{n}-0-img1",
                "label": (n + number) % 2,
                "sent": ("there are two dogs", "one image has a cat")[number],
                "uid": f"u{n}",
            }
            for n in range(pairs)
            for number in (0, 1)
        ]
        (folder / f"{name}.json").write_text(json.dumps(statements))
    (folder / "model.yaml").write_text(MODEL)
    (folder / "task.yaml").write_text(TASK)
    (folder / "pipeline.yaml").write_text(PIPELINE.format(folder=folder))
    return folder


def test_verdicts_match_in_any_case(folder):
    components = create_components(load_pipeline(folder / "pipeline.yaml"), "pushed")
    evaluator = next(component for component in components if component.id == "Evaluator")
    assert 'ignore_case\\": true' in str(evaluator.exec_properties["eval_config"])


class Run(NamedTuple):
    folder: pathlib.Path
    record: RunRecord

    @property
    def root(self) -> pathlib.Path:
        return self.folder / "root"

    @property
    def pushed(self) -> pathlib.Path:
        return pathlib.Path(self.record.pushed_to)

    @property
    def model(self) -> LxmertPairClassifier:
        return LxmertPairClassifier.from_preset(self.pushed / "assets.extra" / "preset")

    @property
    def test_records(self) -> list[str]:
        return find_records(f"{self.record.uris['SceneExampleGen', 'examples']}/Split-test")


@pytest.fixture(scope="module")
def run(folder) -> Run:
    command = ["pipeline", "run", "--config", str(folder / "pipeline.yaml")]
    where = ["--root", str(folder / "root"), "--push-to", str(folder / "pushed")]
    assert cli.main([*command, *where]) == 0
    return Run(folder, read_last_run(str(folder / "root" / "metadata.sqlite")))


@pytest.mark.e2e
@pytest.mark.slow
def test_evaluator_agrees_with_evaluation_without_tfma(run):
    expected = evaluate_answers(run.model, run.test_records, max_regions=8)
    found = run.record.accuracy()["all"]
    assert found[1] == expected["all"][1] == 2 * PAIRS["test"]
    assert found[0] == pytest.approx(expected["all"][0], abs=1e-6)
    assert "The model was blessed." in (run.root / "report.html").read_text()


@pytest.mark.e2e
@pytest.mark.slow
def test_report_has_the_official_scores(run):
    predictions = predict_answers(run.model, run.test_records, 8)
    expected = score("nlvr2", predictions, run.folder / "test.json")
    assert run.record.scores("nlvr2").to_dict() == expected.to_dict()
    assert [score.count for score in expected.groups["overall"]] == [12, 12]
    page = (run.root / "report.html").read_text()
    [accuracy, consistency] = expected.groups["overall"]
    for row in (accuracy, consistency):
        assert f"<td>{row.name}</td><td>12</td><td>{row.rounded:.2f}%</td>" in page


@pytest.mark.e2e
@pytest.mark.slow
def test_pushed_model_judges_the_records_as_its_preset(run):
    records = [r.numpy() for r in tf.data.TFRecordDataset(run.test_records, "GZIP")]
    served = tf.saved_model.load(str(run.pushed)).signatures["serve_examples"]
    verdicts = served(examples=tf.constant(records))["answers"][:, 0].numpy().astype(str)
    names = [schema.decode_scene(record).sentences[0].id for record in records]
    assert dict(zip(names, verdicts)) == predict_answers(run.model, run.test_records, 8)
    card = (run.pushed / "assets.extra" / "model_card.md").read_text()
    assert "# Statements about two images" in card and "## Accuracy" in card


@pytest.mark.e2e
@pytest.mark.slow
def test_questions_about_one_image_are_refused(run, tmp_path, capsys):
    (tmp_path / "data.yaml").write_text("source: easy_vqa\nsplits: {new: {from: test}}\n")
    command = ["pipeline", "predict", "--root", str(run.root), "--split", "new", "--task", "gqa"]
    where = ["--data", str(tmp_path / "data.yaml"), "--output", str(tmp_path / "out.json")]
    assert cli.main([*command, *where]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        "lxmert pipeline: the blessed LxmertPairClassifier needs scenes of 2 images; those of "
        "easy_vqa have 1"
    )


@pytest.mark.e2e
@pytest.mark.slow
def test_new_statements_are_answered_as_a_submission(run):
    data = PIPELINE.format(folder=run.folder).split("splits:")[0].split("task: task.yaml\n")[1]
    (run.folder / "data.yaml").write_text(f"{data}splits: {{new: {{from: test}}}}\n")
    output = run.folder / "test.csv"
    command = ["pipeline", "predict", "--root", str(run.root), "--split", "new"]
    where = ["--data", str(run.folder / "data.yaml"), "--output", str(output)]
    assert cli.main([*command, *where, "--task", "nlvr2"]) == 0
    found = read_submission("nlvr2", output)
    assert found == predict_answers(run.model, run.test_records, 8)
    assert np.isin(list(found.values()), ["True", "False"]).all() and len(found) == 12


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("breaks", [True, False])
def test_push_waits_for_infra_validation(run, capsys, monkeypatch, breaks):
    text = (run.folder / "pipeline.yaml").read_text()
    (run.folder / "asked.yaml").write_text(f"{text}infra_validation: [2.15.1]\n")
    pushed = run.folder / f"pushed-{breaks}"
    command = ["pipeline", "run", "--config", str(run.folder / "asked.yaml")]
    with running_engine(breaks) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        status = cli.main([*command, "--root", str(run.root), "--push-to", str(pushed)])
    record = read_last_run(str(run.root / "metadata.sqlite"))
    assert record.states["InfraValidator"] == record.states["Pusher"] == "COMPLETE"
    assert (record.blessed, record.infra_blessed) == (True, not breaks)
    assert (status, pushed.exists()) == ((1, False) if breaks else (0, True))
    last = capsys.readouterr().err.splitlines()[-1]
    assert ("the model was not pushed: TensorFlow Serving could not load" in last) == breaks
