"""The whole TFX graph in miniature: pictures to a pushed model, the rerun, the refusals.

The runs are few and shared, since each takes half a minute and more: the demo trains and pushes,
two reruns are served from the cache, and one command line is refused by the gate.
"""

import collections
import contextlib
import dataclasses
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

import ml_metadata as mlmd
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2
from PIL import Image
from tensorflow.core.util import event_pb2
from tensorflow_metadata.proto.v0 import anomalies_pb2

from lxmert_tf import LxmertAnswerClassifier, LxmertPretrainer
from lxmert_tf.cli import main as cli
from lxmert_tf.data import schema
from lxmert_tf.data.batches import find_records
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.evaluation.evaluate import evaluate_answers
from lxmert_tf.evaluation.submissions import read_submission
from lxmert_tf.regions.image import read_image
from lxmert_tf.serving.predictor import Predictor
from pipeline import demo
from pipeline.config import load_pipeline
from pipeline.evaluation import SLICES
from pipeline.evaluation_report import report_html
from pipeline.ingest.readers.easy_vqa import EasyVqa
from pipeline.metadata_status import read_status
from pipeline.run_record import RunRecord, read_last_run
from pipeline.runners.local import METADATA, run_local

pytestmark = pytest.mark.e2e

MODEL = """
hidden_size: 32
num_attention_heads: 2
intermediate_size: 64
language_layers: 0
relationship_layers: 0
cross_layers: 1
hidden_dropout: 0.0
attention_dropout: 0.0
initializer_range: 0.1
max_position_embeddings: 32
"""
TASK = """
vocabulary_size: 200
max_regions: 8
batch_size: 32
# So many that it surely learns something: another test's model is worse.
epochs: 8
peak_learning_rate: 1.0e-3
"""
PRETRAINING = """
vocabulary_size: 200
max_regions: 8
batch_size: 32
stages: [{epochs: 1}]
peak_learning_rate: 4.0e-4
"""
PIPELINE = """
name: tiny
source: easy_vqa
model: model.yaml
pretraining: pretraining.yaml
task: task.yaml
splits:
  train: {split: train, percent: [10, 100], limit: 60}
  validation: {split: train, percent: [0, 10], limit: 20}
  test: {split: test, layout: flat, limit: 30}
extractor: {name: grid, cells: 2, max_components: 4, crop_size: 4}
least_accuracy: 0.0
may_drop: 0.05
"""
COMPONENTS = {
    "SceneExampleGen",
    "StatisticsGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "approved_statistics",
    "AnomalyGate",
    "Pretrainer",
    "Trainer",
    "latest_blessed_model",
    "Evaluator",
    "Pusher",
}
# HTML has elements that nobody closes.
META = '<meta charset="utf-8">'
# What looks at earlier runs, or is compared with them.
ALWAYS = {"approved_statistics", "AnomalyGate", "latest_blessed_model"}
SPLITS = ("train", "validation", "test")


class Runs(NamedTuple):
    """The demo's run and two more of the same configuration."""

    folder: pathlib.Path
    status: int
    printed: str
    records: list[RunRecord]
    executed: list[dict[str, list[str]]]

    @property
    def root(self):
        return self.folder / "demo" / "pipeline"

    @property
    def pushed(self):
        return self.folder / "pushed"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    folder = tmp_path_factory.mktemp("graph")
    files = {"model": MODEL, "pretraining": PRETRAINING, "task": TASK, "pipeline": PIPELINE}
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    config, output, pushed = folder / "pipeline.yaml", folder / "demo", folder / "pushed"
    root = output / "pipeline"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = demo.main(
            ["--config", str(config), "--output", str(output), "--push-to", str(pushed)]
        )
    records, executed = [read_last_run(str(root / METADATA))], [states_in_last_run(root)]
    for _ in range(2):
        records.append(run_local(load_pipeline(config), root, pushed))
        executed.append(states_in_last_run(root))
    return Runs(folder, status, printed.getvalue(), records, executed)


def states_in_last_run(root) -> dict[str, list[str]]:
    """{component: the states of its executions} in the newest run, out of ML Metadata itself."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(root / METADATA)
    store = mlmd.MetadataStore(config)
    newest = max(context.id for context in store.get_contexts_by_type("pipeline_run"))
    states = collections.defaultdict(list)
    for execution in store.get_executions_by_context(newest):
        [node] = [c.name for c in store.get_contexts_by_execution(execution.id) if c.type == "node"]
        name = metadata_store_pb2.Execution.State.Name(execution.last_known_state)
        states[node.removeprefix("tiny.")].append(name)
    return dict(states)


def artifact(record, component, output) -> pathlib.Path:
    return pathlib.Path(record.uris[component, output])


def test_every_component_ran_exactly_once(runs):
    assert runs.executed[0] == {name: ["COMPLETE"] for name in COMPONENTS}
    assert runs.records[0].states == dict.fromkeys(COMPONENTS, "COMPLETE")


def test_examples_are_the_chosen_pictures_of_the_chosen_splits(runs):
    examples = artifact(runs.records[0], "SceneExampleGen", "examples")
    images = {}
    for split in SPLITS:
        files = find_records(examples / f"Split-{split}")
        records = tf.data.TFRecordDataset(files, compression_type="GZIP")
        scenes = [schema.decode_scene(record.numpy()) for record in records]
        images[split] = {scene.images[0].id for scene in scenes}
        if split == "test":
            first = {f"test-{i}" for i in range(30)}
            asked = [i for i, _ in EasyVqa().sentences("test") if i in first]
            assert sorted(s.images[0].id for s in scenes) == sorted(asked)
    assert {split: len(ids) for split, ids in images.items()} == {
        "train": 60,
        "validation": 20,
        "test": 30,
    }
    assert not images["train"] & images["validation"]


def test_statistics_are_of_everything_but_the_feature_blobs(runs):
    folder = artifact(runs.records[0], "StatisticsGen", "statistics")
    for split in SPLITS:
        path = folder / f"Split-{split}" / "FeatureStats.pb"
        [dataset] = tfdv.load_stats_binary(str(path)).datasets
        names = {feature.path.step[0] for feature in dataset.features}
        assert names == set(schema.DESCRIPTIVE)
        assert dataset.num_examples > 0


def test_no_anomalies_are_found(runs):
    folder = artifact(runs.records[0], "ExampleValidator", "anomalies")
    for split in SPLITS:
        path = folder / f"Split-{split}" / "SchemaDiff.pb"
        anomalies = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        assert anomalies.baseline.feature, "no schema was compared with"
        assert dict(anomalies.anomaly_info) == {}


def test_training_is_logged_for_tensorboard(runs):
    log = artifact(runs.records[0], "Trainer", "model_run")
    [file] = log.glob("tensorboard/events.out.tfevents.*")
    events = [
        event_pb2.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))
    ]
    tags = {value.tag for event in events for value in event.summary.value}
    assert {"loss", "soft_accuracy", "val_loss", "val_soft_accuracy"} <= tags


def test_preset_beside_the_saved_model_answers_like_the_pushed_model(runs):
    preset = artifact(runs.records[0], "Trainer", "model") / "preset"
    [picture, *_] = EasyVqa().images("test")
    questions = ["what shape is in the image?", "is there a circle?"]
    own, pushed, copied = (
        Predictor(model).ask(read_image(picture.path), questions)
        for model in (preset, runs.pushed, runs.folder / "demo" / "preset")
    )
    assert [[a for a, _ in row] for row in own] == [[a for a, _ in row] for row in pushed]
    scores = np.array([[[s for _, s in row] for row in rows] for rows in (own, pushed)])
    # What float32 keeps of a probability.
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-6)
    assert copied == own


def test_evaluator_counts_what_one_counts_without_tfma(runs):
    record = runs.records[0]
    model = LxmertAnswerClassifier.from_preset(artifact(record, "Trainer", "model") / "preset")
    examples = artifact(record, "SceneExampleGen", "examples")
    expected = evaluate_answers(model, find_records(examples / "Split-test"), max_regions=8)
    found = record.accuracy()
    assert {kind: count for kind, (_, count) in found.items()} == {
        kind: count for kind, (_, count) in expected.items()
    }
    for kind, (share, _) in expected.items():
        assert found[kind][0] == pytest.approx(share, abs=1e-6), kind
    # One epoch teaches something, or the comparison would see little.
    assert 0.1 < found["all"][0] < 1


def test_evaluator_slices_by_what_tells_questions_apart(runs):
    sliced = runs.records[0].sliced_accuracy()
    assert set(sliced) == {"all", *SLICES}
    [questions] = [count for _, count in sliced["all"].values()]
    for table in sliced.values():
        assert sum(count for _, count in table.values()) == questions
    assert len(sliced[schema.REGION_COUNT]) > 1


def test_report_has_a_bar_for_each_value_of_each_slice(runs):
    text = (runs.root / "report.html").read_text()
    # The last run had a blessed model to compare with; this is the command's page of it.
    page = report_html(load_pipeline(runs.folder / "pipeline.yaml"), runs.records[1])
    values = sum(len(table) for table in runs.records[1].sliced_accuracy().values())
    for one in (text, page):
        tree = ElementTree.fromstring(one.removeprefix("<!DOCTYPE html>").replace(META, ""))
        assert len(list(tree.iter("rect"))) == values
        assert "The model was blessed." in one
    assert "The model blessed before has" in page
    assert page.count('class="baseline"') == values and 'class="baseline"' not in text


def test_first_model_is_blessed_and_pushed_without_a_comparison(runs):
    record = runs.records[0]
    assert (record.blessed, record.compared) == (True, False)
    pushed = pathlib.Path(record.pushed_to)
    assert pushed.parent == runs.pushed and pushed.name.isdigit()
    assert (pushed / "saved_model.pb").is_file()


def test_rerun_runs_only_what_a_blessed_model_changes(runs):
    again = {*ALWAYS, "Evaluator", "Pusher"}
    expected = {name: "COMPLETE" if name in again else "CACHED" for name in COMPONENTS}
    assert runs.records[1].states == expected
    assert runs.executed[1] == {name: [state] for name, state in expected.items()}


def test_rerun_compares_with_the_blessed_model(runs):
    record = runs.records[1]
    assert (record.compared, record.blessed) == (True, True)
    uri = record.uris["Evaluator", "evaluation"]
    metrics = {}
    for name in ("candidate", "baseline"):
        result = tfma.load_eval_result(uri, model_name=name)
        [overall] = [outputs for key, outputs in result.slicing_metrics if key == ()]
        metrics[name] = overall[""][""]["soft_accuracy"]["doubleValue"]
    # It is the same model.
    assert metrics["candidate"] == metrics["baseline"] == record.accuracy()["all"][0]
    assert record.accuracy() == runs.records[0].accuracy()


def test_third_run_is_all_from_the_cache_but_what_looks_at_the_runs_before(runs):
    record = runs.records[2]
    assert record.states == {
        name: "COMPLETE" if name in ALWAYS else "CACHED" for name in COMPONENTS
    }
    assert (record.compared, record.blessed) == (True, True)
    assert record.pushed_to == runs.records[1].pushed_to
    assert record.accuracy() == runs.records[0].accuracy()


def test_demo_leaves_a_report_of_what_it_did(runs):
    assert runs.status == 0
    report = json.loads((runs.folder / "demo" / "report.json").read_text())
    record = runs.records[0]
    accuracy, questions = record.accuracy()["all"]
    assert set(report) == {
        "test_accuracy",
        "question_only_accuracy",
        "questions",
        "train_seconds",
        "total_seconds",
        "model_dir",
    }
    assert (report["test_accuracy"], report["questions"]) == (accuracy, questions)
    assert report["model_dir"] == record.pushed_to
    assert 0.669 <= report["question_only_accuracy"] <= 0.671
    assert 0 < report["train_seconds"] < report["total_seconds"]


def test_demo_prints_where_the_model_is_and_three_answers(runs):
    assert f"model:   {runs.records[0].pushed_to}\n" in runs.printed
    assert len(re.findall(r"\(truth: \w+\)$", runs.printed, re.MULTILINE)) == 3
    for kind in ("absence", "color", "presence", "shape", "all"):
        assert f"│ {kind} " in runs.printed


def test_demo_draws_a_picture(runs):
    with Image.open(runs.folder / "demo" / "answers.png") as picture:
        # Releases of matplotlib round differently.
        assert picture.size in ((1439, 960), (1440, 960))


class Refused(NamedTuple):
    status: int
    stdout: str
    stderr: str
    record: RunRecord


@pytest.fixture(scope="module")
def refused(runs) -> Refused:
    """The command line with a threshold that the trained model misses."""
    strict = PIPELINE.replace("least_accuracy: 0.0", "least_accuracy: 0.999")
    (runs.folder / "strict.yaml").write_text(strict)
    command = [sys.executable, "-m", "lxmert_tf.cli", "pipeline", "run", "--config", "strict.yaml"]
    done = subprocess.run(
        [*command, "--root", runs.root, "--push-to", runs.folder / "refused"],
        capture_output=True,
        text=True,
        cwd=runs.folder,
    )
    record = read_last_run(str(runs.root / METADATA))
    return Refused(done.returncode, done.stdout, done.stderr, record)


def test_refused_model_is_told_in_one_line_and_with_status_1(refused):
    accuracy, _ = refused.record.accuracy()["all"]
    progress = re.compile(r" *\d+ s  \w+")
    lines = [line for line in refused.stderr.splitlines() if not progress.fullmatch(line)]
    assert refused.status == 1
    assert lines == [
        "lxmert pipeline: the model was not pushed: soft_accuracy: "
        f"its value is {accuracy:.4f}, the threshold 0.9990"
    ]
    assert "pushed:" not in refused.stdout


def test_refused_model_is_not_pushed(refused, runs):
    assert refused.record.states["Evaluator"] == refused.record.states["Pusher"] == "COMPLETE"
    assert (refused.record.blessed, refused.record.pushed_to) == (False, None)
    assert not (runs.folder / "refused").exists()


def test_gate_names_metric_value_and_threshold(refused):
    accuracy, _ = refused.record.accuracy()["all"]
    with pytest.raises(GateError) as caught:
        refused.record.check_blessed()
    for part in ("soft_accuracy", f"{accuracy:.4f}", "0.9990"):
        assert part in str(caught.value)


def test_refused_model_has_a_report_with_the_reason(refused, runs):
    text = (runs.root / "report.html").read_text()
    assert "The model was not blessed:" in text and "the threshold 0.9990" in text
    assert f"report: {runs.root / 'report.html'}" in refused.stdout


def test_training_was_not_repeated_for_another_threshold(refused):
    assert refused.record.states["Trainer"] == "CACHED"


@pytest.mark.slow
def test_model_worse_than_the_blessed_one_is_refused(runs, tmp_path):
    config = load_pipeline(runs.folder / "pipeline.yaml")
    # It learns nothing at this rate.
    task = dataclasses.replace(config.task, peak_learning_rate=1e-12)
    # In a copy, so that other tests see the runs without this one.
    root = shutil.copytree(runs.root, tmp_path / "pipeline")
    record = run_local(dataclasses.replace(config, task=task), root, tmp_path / "pushed")
    assert (record.compared, record.blessed, record.pushed_to) == (True, False, None)
    change = record.accuracy()["all"][0] - runs.records[0].accuracy()["all"][0]
    with pytest.raises(GateError) as caught:
        record.check_blessed()
    assert f"change since the blessed model is {change:.4f}, the threshold -0.05" in str(
        caught.value
    )
    assert not (tmp_path / "pushed").exists()


def test_model_that_was_pushed_and_is_gone_is_missed(runs, refused):
    # After `refused`, which needs no pushed model; the run is all from the cache.
    pushed = pathlib.Path(runs.records[2].pushed_to)
    hidden = pushed.rename(pushed.with_name("hidden"))
    try:
        with pytest.raises(InputError, match=f"{pushed}: was pushed by an earlier run and is gone"):
            run_local(load_pipeline(runs.folder / "pipeline.yaml"), runs.root, runs.pushed)
    finally:
        hidden.rename(pushed)


def test_the_trainer_starts_from_what_was_pre_trained(runs):
    record = runs.records[0]
    before = LxmertPretrainer.from_preset(
        artifact(record, "Pretrainer", "model") / "Format-Serving"
    )
    after = LxmertAnswerClassifier.from_preset(artifact(record, "Trainer", "model") / "preset")
    assert (after.vocabulary, after.answers) == (before.vocabulary, before.answers)
    # From scratch with the same seed they would be as far apart as two random matrices.
    moved = np.abs(after.backbone.word_embeddings.numpy() - before.backbone.word_embeddings.numpy())
    assert 0 < moved.mean() < 0.03
    [summary] = json.loads(
        (artifact(record, "Pretrainer", "model") / "training.json").read_text()
    ).values()
    report = json.loads((runs.folder / "demo" / "report.json").read_text())
    assert report["train_seconds"] > summary


def test_pushed_version_brings_its_card_its_warm_up_and_its_preset(runs):
    record = runs.records[0]
    extra = pathlib.Path(record.pushed_to) / "assets.extra"
    card = (extra / "model_card.md").read_text()
    assert "| train | easy_vqa | 60 |" in card
    assert "| test | easy_vqa | 30 |" in card
    for kind, (share, questions) in record.accuracy().items():
        assert f"| {kind} | {share:.4f} | {questions} |" in card
    assert (extra / "tf_serving_warmup_requests").stat().st_size > 0
    assert LxmertAnswerClassifier.from_preset(extra / "preset").extractor["name"] == "grid"
    # The last run found its model pushed already.
    again = pathlib.Path(runs.records[2].pushed_to) / "assets.extra" / "model_card.md"
    assert again.read_text().count("## Accuracy") == 1


def test_run_from_a_component_on_reuses_what_is_before_it_and_runs_the_rest(runs, refused):
    # After `refused`: its own Evaluator's verdict would be the last one.
    config = load_pipeline(runs.folder / "pipeline.yaml")
    run_local(config, runs.root, runs.pushed)
    record = run_local(config, runs.root, runs.pushed, from_component="Pusher")
    assert record.states == {
        name: "COMPLETE" if name == "Pusher" else "CACHED" for name in COMPONENTS
    }
    assert pathlib.Path(record.pushed_to).parent == runs.pushed


def test_run_from_an_unknown_component_or_without_a_run_before_is_refused(runs, tmp_path):
    config = load_pipeline(runs.folder / "pipeline.yaml")
    with pytest.raises(InputError, match=r"no such component; there are .*Trainer"):
        run_local(config, runs.root, runs.pushed, from_component="Trainr")
    with pytest.raises(InputError, match="no earlier run"):
        run_local(config, tmp_path / "new", runs.pushed, from_component="Trainer")


def test_dry_run_prints_the_graph_and_runs_nothing(runs, capsys, monkeypatch):
    monkeypatch.chdir(runs.folder)
    before = sorted(runs.folder.iterdir())
    assert cli.main(["pipeline", "run", "--config", "pipeline.yaml", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for name in COMPONENTS:
        assert f"│ {name} " in printed
    assert sorted(runs.folder.iterdir()) == before


def test_status_tells_of_runs_artifacts_and_what_made_a_model(runs, refused, capsys):
    assert cli.main(["pipeline", "status", "--root", str(runs.root)]) == 0
    printed = capsys.readouterr().out
    for title in ("Runs", "Artifacts", "Models"):
        assert f" {title} " in printed
    status = read_status(runs.root / METADATA)
    assert status.runs[0][2:] == (str(len(COMPONENTS)), "0", "", "yes")
    [pretrained, trained] = status.models
    assert pretrained[1] == "Pretrainer" and pretrained[3] == "random weights"
    # What it was trained on, and from.
    assert trained[1] == "Trainer" and trained[3] == f"model {pretrained[0]}"
    assert trained[2].endswith(f": easy_vqa ({EasyVqa().fingerprint()})")
    assert runs.records[0].pushed_to in trained[5].splitlines()
    assert any(made[1:3] == ("ModelBlessing", "Evaluator") for made in status.artifacts)


def test_status_of_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert cli.main(["pipeline", "status", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"lxmert pipeline: {tmp_path}/metadata.sqlite: no pipeline has run there"
    ]


def test_new_pictures_are_answered_by_the_blessed_model_as_a_submission(runs, refused, tmp_path):
    data = tmp_path / "data.yaml"
    data.write_text(
        "source: easy_vqa\n"
        "splits: {new: {split: test, limit: 5}}\n"
        "extractor: {name: grid, cells: 2, max_components: 4, crop_size: 4}\n"
    )
    output = tmp_path / "answers.json"
    command = ["pipeline", "predict", "--root", str(runs.root), "--data", str(data)]
    told = [*command, "--split", "new", "--task", "gqa", "--output", str(output)]
    assert cli.main(told) == 0
    answers = read_submission("gqa", output)
    pictures = {picture.image_id: picture.path for picture in EasyVqa().images("test")}
    first = list(pictures)[:5]
    asked = [(i, sentence) for i, sentence in EasyVqa().sentences("test") if i in first]
    assert sorted(answers) == sorted(sentence.id for _, sentence in asked)
    answerer = Predictor(runs.pushed)
    for image, sentence in asked[:8]:
        [[(best, _), *_]] = answerer.ask(read_image(pictures[image]), [sentence.text])
        assert answers[sentence.id] == best
    # The pipeline goes on from its own last run.
    config = load_pipeline(runs.folder / "pipeline.yaml")
    record = run_local(config, runs.root, runs.pushed, from_component="Pusher")
    assert record.states["Pusher"] == "COMPLETE"
