"""The whole TFX pipeline in miniature, from images to a pushed model, with reruns and refusals.

All tests of this file share one root, in which few runs follow each other. A run that trains takes
half a minute; the others reuse its results. The fixtures depend on each other in the order of the
runs: demo, refused, rerun, cached, predicted, partial.
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
from lxmert_tf.evaluation.confusion import read_confusion
from lxmert_tf.evaluation.evaluate import evaluate_answers
from lxmert_tf.evaluation.submissions import read_submission
from lxmert_tf.regions.image import read_image
from lxmert_tf.serving.predictor import Predictor
from pipeline import demo as demo_command
from pipeline.config import LoadedPipeline, load_pipeline
from pipeline.evaluation import SLICES
from pipeline.ingest.readers.easy_vqa import EasyVqa
from pipeline.metadata import read_status
from pipeline.root_files import METADATA_FILE
from pipeline.run_record import RunRecord, read_last_run
from pipeline.run_report import complete_model_card, report_html
from pipeline.runners.local import run_local
from tests.pipeline.tiny_pipeline import (
    COMPONENTS,
    EXTRACTOR,
    IMAGES,
    PIPELINE,
    write_tiny_pipeline,
)

pytestmark = pytest.mark.e2e

# Components that look at earlier runs, or compare with them, are never cached.
NEVER_CACHED = {"approved_statistics", "AnomalyGate", "latest_blessed_model"}


class Demo(NamedTuple):
    """The first run, by the demo: it trains and pushes."""

    folder: pathlib.Path
    config: LoadedPipeline
    status: int
    printed: str
    page: str
    record: RunRecord
    executed: dict[str, list[str]]

    @property
    def output(self) -> pathlib.Path:
        return self.folder / "demo"

    @property
    def root(self) -> pathlib.Path:
        return self.output / "pipeline"

    @property
    def pushed(self) -> pathlib.Path:
        return self.folder / "pushed"

    def run(self, **options) -> RunRecord:
        return run_local(self.config, self.root, self.pushed, **options)

    def last_run(self) -> RunRecord:
        return read_last_run(self.root / METADATA_FILE)


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Demo:
    folder = tmp_path_factory.mktemp("pipeline")
    config, output = write_tiny_pipeline(folder), folder / "demo"
    command = ["--config", config, "--output", output, "--push-to", folder / "pushed"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = demo_command.main(list(map(str, command)))
    root = output / "pipeline"
    return Demo(
        folder,
        load_pipeline(config),
        status,
        printed.getvalue(),
        (root / "report.html").read_text(),
        read_last_run(root / METADATA_FILE),
        executions_of_last_run(root),
    )


class Refused(NamedTuple):
    """The second run, by the command: the model misses another threshold."""

    status: int
    stdout: str
    stderr: str
    record: RunRecord


@pytest.fixture(scope="session")
def refused(demo) -> Refused:
    strict = PIPELINE.replace("least_accuracy: 0.0", "least_accuracy: 0.999")
    (demo.folder / "strict.yaml").write_text(strict)
    # A process of its own, to see all that a terminal shows.
    command = [sys.executable, "-m", "lxmert_tf.cli", "pipeline", "run", "--config", "strict.yaml"]
    done = subprocess.run(
        [*command, "--root", demo.root, "--push-to", demo.folder / "refused"],
        capture_output=True,
        text=True,
        cwd=demo.folder,
    )
    return Refused(done.returncode, done.stdout, done.stderr, demo.last_run())


class Rerun(NamedTuple):
    record: RunRecord
    executed: dict[str, list[str]]


@pytest.fixture(scope="session")
def rerun(demo, refused) -> Rerun:
    """The configuration of the first run again."""
    return Rerun(demo.run(), executions_of_last_run(demo.root))


class Cached(NamedTuple):
    error: str
    record: RunRecord


@pytest.fixture(scope="session")
def cached(demo, rerun) -> Cached:
    """The same again, while the pushed model is missing."""
    pushed = pathlib.Path(rerun.record.pushed_to)
    hidden = pushed.rename(pushed.with_name("hidden"))
    try:
        with pytest.raises(InputError) as caught:
            demo.run()
    finally:
        hidden.rename(pushed)
    return Cached(str(caught.value), demo.last_run())


@pytest.fixture(scope="session")
def predicted(demo, cached) -> dict[str, str]:
    """Answers of `lxmert pipeline predict` to the questions about five images."""
    data, output = demo.folder / "data.yaml", demo.folder / "answers.json"
    data.write_text(f"source: easy_vqa\nsplits: {{new: {{from: test, limit: 5}}}}\n{EXTRACTOR}")
    command = ["pipeline", "predict", "--root", str(demo.root), "--data", str(data)]
    options = ["--split", "new", "--task", "gqa", "--output", str(output)]
    assert cli.main([*command, *options]) == 0
    return read_submission("gqa", output)


@pytest.fixture(scope="session")
def partial(demo, predicted) -> RunRecord:
    """A run from the Pusher on, after the run of another pipeline in the same root."""
    return demo.run(from_component="Pusher")


def executions_of_last_run(root) -> dict[str, list[str]]:
    """Return {component: states of its executions} of the newest run, read without our code."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(root / METADATA_FILE)
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


def test_every_component_ran_exactly_once(demo):
    assert demo.executed == {name: ["COMPLETE"] for name in COMPONENTS}
    assert demo.record.states == dict.fromkeys(COMPONENTS, "COMPLETE")


def test_examples_are_the_chosen_images_of_the_chosen_splits(demo):
    examples = artifact(demo.record, "SceneExampleGen", "examples")
    images = {}
    for split in IMAGES:
        files = find_records(examples / f"Split-{split}")
        records = tf.data.TFRecordDataset(files, compression_type="GZIP")
        scenes = [schema.decode_scene(record.numpy()) for record in records]
        images[split] = {scene.images[0].id for scene in scenes}
        if split == "test":
            first = {f"test-{i}" for i in range(IMAGES["test"])}
            asked = [i for i, _ in EasyVqa().sentences("test") if i in first]
            assert sorted(s.images[0].id for s in scenes) == sorted(asked)
    assert {split: len(ids) for split, ids in images.items()} == IMAGES
    assert not images["train"] & images["validation"]


def test_statistics_cover_all_features_but_the_blobs(demo):
    folder = artifact(demo.record, "StatisticsGen", "statistics")
    for split in IMAGES:
        path = folder / f"Split-{split}" / "FeatureStats.pb"
        [dataset] = tfdv.load_stats_binary(str(path)).datasets
        names = {feature.path.step[0] for feature in dataset.features}
        assert names == set(schema.DESCRIPTIVE)
        assert dataset.num_examples > 0


def test_no_anomalies_are_found(demo):
    folder = artifact(demo.record, "ExampleValidator", "anomalies")
    for split in IMAGES:
        path = folder / f"Split-{split}" / "SchemaDiff.pb"
        anomalies = anomalies_pb2.Anomalies.FromString(path.read_bytes())
        assert anomalies.baseline.feature, "there was no schema to compare with"
        assert dict(anomalies.anomaly_info) == {}


def test_training_is_logged_for_tensorboard(demo):
    log = artifact(demo.record, "Trainer", "model_run")
    [file] = log.glob("tensorboard/events.out.tfevents.*")
    events = [
        event_pb2.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))
    ]
    tags = {value.tag for event in events for value in event.summary.value}
    assert {"loss", "soft_accuracy", "val_loss", "val_soft_accuracy", "answers"} <= tags


def test_the_answers_to_the_test_questions_are_kept_for_the_page(demo):
    confusion = read_confusion(demo.root / "predictions.json")
    share, count = demo.record.accuracy()["all"]
    assert sum(confusion.counts.values()) == count
    right = sum(n for (expected, given), n in confusion.counts.items() if expected == given)
    assert right / count == pytest.approx(share)
    assert confusion.model == demo.record.uris["Trainer", "model"]


def test_preset_answers_like_the_pushed_model(demo):
    preset = artifact(demo.record, "Trainer", "model") / "preset"
    [image, *_] = EasyVqa().images("test")
    questions = ["what shape is in the image?", "is there a circle?"]
    own, pushed, copied = (
        Predictor.from_directory(model).answer(read_image(image.path), questions)
        for model in (preset, demo.pushed, demo.output / "preset")
    )
    assert [[a for a, _ in row] for row in own] == [[a for a, _ in row] for row in pushed]
    scores = np.array([[[s for _, s in row] for row in rows] for rows in (own, pushed)])
    # The precision of a float32 probability.
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-6)
    assert copied == own


def test_evaluator_agrees_with_evaluation_without_tfma(demo):
    model = LxmertAnswerClassifier.from_preset(artifact(demo.record, "Trainer", "model") / "preset")
    examples = artifact(demo.record, "SceneExampleGen", "examples")
    expected = evaluate_answers(model, find_records(examples / "Split-test"), max_regions=8)
    found = demo.record.accuracy()
    assert {kind: count for kind, (_, count) in found.items()} == {
        kind: count for kind, (_, count) in expected.items()
    }
    for kind, (share, _) in expected.items():
        assert found[kind][0] == pytest.approx(share, abs=1e-6), kind
    # Some answers are right and some wrong, or the comparison would see little.
    assert 0.1 < found["all"][0] < 1


def test_evaluator_slices_by_four_features(demo):
    sliced = demo.record.sliced_accuracy()
    assert set(sliced) == {"all", *SLICES}
    [questions] = [count for _, count in sliced["all"].values()]
    for table in sliced.values():
        assert sum(count for _, count in table.values()) == questions
    assert len(sliced[schema.REGION_COUNT]) > 1


def test_report_has_a_bar_for_each_value_of_each_slice(demo, rerun):
    # Only the rerun had a blessed model to compare with.
    compared = report_html(demo.config, rerun.record)
    values = sum(len(table) for table in rerun.record.sliced_accuracy().values())
    for page in (demo.page, compared):
        tree = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>"))
        assert len(tree.findall(".//span[@class='candidate']")) == values
        assert "The model was blessed." in page
        assert "loss over" in page, "no learning curves"
    assert "Last blessed model:" in compared
    assert compared.count('class="baseline"') == values
    assert 'class="baseline"' not in demo.page


def test_first_model_is_blessed_and_pushed_without_a_comparison(demo):
    assert (demo.record.blessed, demo.record.compared) == (True, False)
    pushed = pathlib.Path(demo.record.pushed_to)
    assert pushed.parent == demo.pushed and pushed.name.isdigit()
    assert (pushed / "saved_model.pb").is_file()


def test_demo_writes_a_report(demo):
    assert demo.status == 0
    report = json.loads((demo.output / "report.json").read_text())
    accuracy, questions = demo.record.accuracy()["all"]
    assert set(report) == {
        "test_accuracy",
        "question_only_accuracy",
        "questions",
        "train_seconds",
        "total_seconds",
        "model_dir",
    }
    assert (report["test_accuracy"], report["questions"]) == (accuracy, questions)
    assert report["model_dir"] == demo.record.pushed_to
    assert 0.669 <= report["question_only_accuracy"] <= 0.671
    assert 0 < report["train_seconds"] < report["total_seconds"]


def test_demo_prints_where_the_model_is_and_three_answers(demo):
    assert f"model:   {demo.record.pushed_to}\n" in demo.printed
    assert len(re.findall(r"\(truth: \w+\)$", demo.printed, re.MULTILINE)) == 3
    for kind in ("absence", "color", "presence", "shape", "all"):
        assert f"│ {kind} " in demo.printed


def test_demo_draws_a_picture(demo):
    with Image.open(demo.output / "answers.png") as picture:
        # Releases of matplotlib round differently.
        assert picture.size in ((1439, 960), (1440, 960))


def test_trainer_starts_from_the_pretrained_model(demo):
    pretrained = artifact(demo.record, "Pretrainer", "model")
    before = LxmertPretrainer.from_preset(pretrained / "Format-Serving")
    after = LxmertAnswerClassifier.from_preset(artifact(demo.record, "Trainer", "model") / "preset")
    assert (after.vocabulary, after.answers) == (before.vocabulary, before.answers)
    # Two random matrices would be much further apart.
    moved = np.abs(after.backbone.word_embeddings.numpy() - before.backbone.word_embeddings.numpy())
    assert 0 < moved.mean() < 0.03
    [seconds] = json.loads((pretrained / "training.json").read_text()).values()
    report = json.loads((demo.output / "report.json").read_text())
    assert report["train_seconds"] > seconds


def test_pushed_version_has_card_warmup_and_preset(demo):
    extra = pathlib.Path(demo.record.pushed_to) / "assets.extra"
    card = (extra / "model_card.md").read_text()
    assert "| train | easy_vqa | 60 |" in card
    assert "| test | easy_vqa | 30 |" in card
    for kind, (share, questions) in demo.record.accuracy().items():
        assert f"| {kind} | {share:.4f} | {questions} |" in card
    assert (extra / "tf_serving_warmup_requests").stat().st_size > 0
    assert LxmertAnswerClassifier.from_preset(extra / "preset").extractor["name"] == "grid"


def test_card_of_a_model_that_was_pushed_already_is_completed_once(cached):
    complete_model_card(cached.record, cached.record.pushed_to)
    card = pathlib.Path(cached.record.pushed_to) / "assets.extra" / "model_card.md"
    assert card.read_text().count("## Accuracy") == 1


def test_refusal_is_one_line_and_status_1(refused):
    accuracy, _ = refused.record.accuracy()["all"]
    progress = re.compile(r" *\d+ s  \w+")
    lines = [line for line in refused.stderr.splitlines() if not progress.fullmatch(line)]
    assert refused.status == 1
    assert lines == [
        "lxmert pipeline: the model was not pushed: soft_accuracy: "
        f"the value is {accuracy:.4f}, the threshold 0.9990"
    ]
    assert "pushed:" not in refused.stdout


def test_refused_model_is_not_pushed(refused, demo):
    assert refused.record.states["Evaluator"] == refused.record.states["Pusher"] == "COMPLETE"
    assert (refused.record.blessed, refused.record.pushed_to) == (False, None)
    assert not (demo.folder / "refused").exists()


def test_report_of_a_refused_model_has_the_reason(refused, demo):
    text = (demo.root / "report.html").read_text()
    assert "The model was not blessed:" in text and "the threshold 0.9990" in text
    assert f"report: {demo.root / 'report.html'}" in refused.stdout


def test_training_is_not_repeated_for_another_threshold(refused):
    assert refused.record.states["Trainer"] == "CACHED"


@pytest.mark.slow
def test_model_worse_than_the_blessed_one_is_refused(demo, tmp_path):
    # An answer that is never right: this model cannot learn anything.
    (tmp_path / "answers.txt").write_text("none of these\n")
    task = dataclasses.replace(demo.config.task, answers=str(tmp_path / "answers.txt"), epochs=1)
    config = dataclasses.replace(demo.config, task=task, pretraining=None)
    # A copy, so that other tests see the runs without this one.
    root = shutil.copytree(demo.root, tmp_path / "pipeline")
    record = run_local(config, root, tmp_path / "pushed")
    assert (record.compared, record.blessed, record.pushed_to) == (True, False, None)
    change = record.accuracy()["all"][0] - demo.record.accuracy()["all"][0]
    with pytest.raises(GateError) as caught:
        record.check_blessed()
    assert f"the change from the blessed model is {change:.4f}, the threshold -0.05" in str(
        caught.value
    )
    assert not (tmp_path / "pushed").exists()


def test_rerun_runs_only_what_depends_on_the_blessed_model(rerun):
    again = {*NEVER_CACHED, "Evaluator", "Pusher"}
    expected = {name: "COMPLETE" if name in again else "CACHED" for name in COMPONENTS}
    assert rerun.record.states == expected
    assert rerun.executed == {name: [state] for name, state in expected.items()}


def test_rerun_compares_with_the_blessed_model(rerun, demo):
    record = rerun.record
    assert (record.compared, record.blessed) == (True, True)
    uri = record.uris["Evaluator", "evaluation"]
    metrics = {}
    for name in ("candidate", "baseline"):
        result = tfma.load_eval_result(uri, model_name=name)
        [overall] = [outputs for key, outputs in result.slicing_metrics if key == ()]
        metrics[name] = overall[""][""]["soft_accuracy"]["doubleValue"]
    # Both are the same model.
    assert metrics["candidate"] == metrics["baseline"] == record.accuracy()["all"][0]
    assert record.accuracy() == demo.record.accuracy()


def test_next_rerun_is_all_cached_but_what_looks_at_earlier_runs(cached, rerun, demo):
    record = cached.record
    assert record.states == {
        name: "COMPLETE" if name in NEVER_CACHED else "CACHED" for name in COMPONENTS
    }
    assert (record.compared, record.blessed) == (True, True)
    assert record.pushed_to == rerun.record.pushed_to
    assert record.accuracy() == demo.record.accuracy()


def test_missing_pushed_model_is_an_error(cached, rerun):
    assert cached.error.startswith(f"{rerun.record.pushed_to}: pushed by an earlier run, but no")


def test_partial_run_reuses_the_results_before_it(partial, demo):
    assert partial.states == {
        name: "COMPLETE" if name == "Pusher" else "CACHED" for name in COMPONENTS
    }
    assert pathlib.Path(partial.pushed_to).parent == demo.pushed


def test_status_shows_runs_artifacts_and_lineage(demo, refused, capsys):
    assert cli.main(["pipeline", "status", "--root", str(demo.root)]) == 0
    printed = capsys.readouterr().out
    for title in ("Runs", "Artifacts", "Models"):
        assert f" {title} " in printed
    status = read_status(demo.root / METADATA_FILE)
    assert status.runs[0][2:] == (str(len(COMPONENTS)), "0", "", "yes")
    assert status.runs[1][5] == "no"
    [pretrained, trained] = status.models
    assert pretrained[1] == "Pretrainer" and pretrained[3] == "random weights"
    assert trained[1] == "Trainer" and trained[3] == f"model {pretrained[0]}"
    assert trained[2].endswith(f": easy_vqa ({EasyVqa().fingerprint()})")
    assert demo.record.pushed_to in trained[5].splitlines()
    assert any(made[1:3] == ("ModelBlessing", "Evaluator") for made in status.artifacts)


def test_status_skips_folders_of_runs_that_never_began(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build/pipeline/empty").mkdir(parents=True)
    (tmp_path / "build/pipeline/later").symlink_to(demo.root)
    assert cli.main(["pipeline", "status"]) == 0
    printed = capsys.readouterr().out
    assert "build/pipeline/later" in printed and "build/pipeline/empty" not in printed


def test_blessed_model_answers_new_questions_as_a_submission(predicted, demo):
    images = {image.image_id: image.path for image in EasyVqa().images("test")}
    first = list(images)[:5]
    asked = [(i, sentence) for i, sentence in EasyVqa().sentences("test") if i in first]
    assert sorted(predicted) == sorted(sentence.id for _, sentence in asked)
    predictor = Predictor.from_directory(demo.pushed)
    for image, sentence in asked[:8]:
        [[(best, _), *_]] = predictor.answer(read_image(images[image]), [sentence.text])
        assert predicted[sentence.id] == best
