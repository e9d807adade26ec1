"""configs/pipeline/nlvr.yaml on a part of NLVR: from its PNG files to the answer of a pushed model.

It needs a run of its own, because the shared one reads another data set.
"""

import contextlib
import importlib.resources
import io
import json
import pathlib
from typing import NamedTuple

import pytest

from lxmert_tf.cli import main as cli
from lxmert_tf.data.batches import find_records, read_records
from lxmert_tf.data.schema import decode_scene
from pipeline.run_record import RunRecord, read_last_run
from tests.nlvr_clone import clone_nlvr

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CONFIG = pathlib.Path(str(importlib.resources.files("lxmert_tf.configs"))) / "pipeline/nlvr.yaml"
# Sizes and steps; all else is as in the files.
SMALL = ("task.epochs=1", "model.relationship_layers=1", "model.cross_layers=1", "least_accuracy=0")
MADE = {
    "lesson1": ["--lesson", "1", "--folders", "[01]*"],
    "lesson2": ["--lesson", "2", "--folders", "[23]*"],
    "lesson3": ["--lesson", "3", "--folders", "[0-6]*"],
    "statements": ["--folders", "[0-6]*"],
}
# One example from each of the 80 folders of train, and three from each of the seven of test.
PER_DIRECTORY = {"train": 1, "test": 3}
EXAMPLES = {"train": 67, "validation": 13, "test": 21}


class Run(NamedTuple):
    folder: pathlib.Path
    examples: dict[str, list[dict]]
    printed: str
    record: RunRecord

    def files(self, split: str) -> list[str]:
        return find_records(f"{self.record.uris['SceneExampleGen', 'examples']}/Split-{split}")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("nlvr")
    examples = clone_nlvr(folder / "data" / "nlvr", PER_DIRECTORY)
    command = ["pipeline", "run", "--config", str(CONFIG)]
    command += [word for change in SMALL for word in ("--set", change)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = folder / "build" / "nlvr"
        made.mkdir(parents=True)
        for name, options in MADE.items():
            argv = ["statements", "--images", "data/nlvr/nlvr/train", *options, "--count", "300"]
            assert cli.main([*argv, "--output", str(made / f"{name}.jsonl")]) == 0
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert cli.main(command) == 0
    record = read_last_run(folder / "build" / "pipeline" / "nlvr" / "metadata.sqlite")
    return Run(folder, examples, printed.getvalue(), record)


def test_images_are_in_the_split_of_their_folder(run):
    folders = {
        f"{split}-{example['identifier']}": example["directory"]
        for split, examples in run.examples.items()
        for example in examples
    }
    for split, examples in EXAMPLES.items():
        records = read_records(run.files(split))
        scenes = [decode_scene(record.numpy()) for record in records]
        found = {scene.images[0].id for scene in scenes}
        assert len(scenes) == len(found) == 6 * examples
        if split != "train":
            assert all(len(scene.sentences) == 1 for scene in scenes)
        if split != "test":
            last_folders = {folders[name.rpartition("-")[0]][0] for name in found}
            assert (last_folders <= set("789")) == (split == "validation")


def test_each_lesson_and_the_statements_are_in_their_split(run):
    for split, sentences in (("lesson1", 300), ("lesson2", 300), ("lesson3", 300 + 67 * 6)):
        scenes = [decode_scene(record.numpy()) for record in read_records(run.files(split))]
        assert sum(len(scene.sentences) for scene in scenes) == sentences
    scenes = [decode_scene(record.numpy()) for record in read_records(run.files("train"))]
    answers = {text for scene in scenes for s in scene.sentences for text, _ in s.answers}
    assert sum(len(scene.sentences) for scene in scenes) == 300 + 67 * 6
    assert answers == {"True", "False"}


def test_the_report_has_the_scores_that_evaluate_prints(run, capsys):
    command = [
        "evaluate",
        "--task",
        "nlvr",
        "--model",
        f"{run.record.pushed_to}/assets.extra/preset",
    ]
    command += ["--examples", *run.files("test"), "--max-regions", "32"]
    command += ["--annotations", str(run.folder / "data/nlvr/nlvr/test/test.json")]
    assert cli.main([*command, "--json", str(run.folder / "scores.json")]) == 0
    table = capsys.readouterr().out
    scores = run.record.scores("nlvr")
    assert scores.to_dict() == json.loads((run.folder / "scores.json").read_text())
    assert list(scores.groups) == ["overall", "phenomenon", "sentence length"]
    assert scores.groups["overall"][0].count == 6 * EXAMPLES["test"]
    assert {"color", "counting", "position"} <= {s.name for s in scores.groups["phenomenon"]}
    # The run printed the same table, among others.
    assert table in run.printed
    page = (run.folder / "build" / "pipeline" / "nlvr" / "report.html").read_text()
    for group in scores.groups.values():
        for row in group:
            assert f"<td>{row.name}</td><td>{row.count}</td><td>{row.rounded:.2f}%</td>" in page
    # Statements of NLVR have no types.
    assert "By source" in page and "By question type" not in page


def test_the_pushed_model_answers_about_one_of_the_images(run, capsys, monkeypatch):
    monkeypatch.chdir(run.folder)
    example = run.examples["test"][0]
    image = f"images/{example['directory']}/test-{example['identifier']}-0.png"
    command = ["ask", "--model", "saved_models/nlvr", "--image", f"data/nlvr/nlvr/test/{image}"]
    assert cli.main([*command, example["sentence"]]) == 0
    printed = capsys.readouterr().out
    assert "True" in printed and "False" in printed
