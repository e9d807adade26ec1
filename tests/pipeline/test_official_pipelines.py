"""configs/pipeline/{vqa,gqa,nlvr2}.yaml: from files as the release has them to a pushed model.

The regions are those of the release's seven sample images, under many ids. Only sizes, steps, and
the gate differ from the configurations: the preset in build/presets/pretrained is tiny.
"""

import contextlib
import importlib.resources
import io
import itertools
import json
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (the SavedModel has its ops)

from lxmert_tf import LxmertConfig, LxmertPretrainer
from lxmert_tf.cli import main as cli
from lxmert_tf.data.batches import find_records
from lxmert_tf.data.schema import decode_scene
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from pipeline.ingest.inputs import hash_percent
from pipeline.run_record import RunRecord, read_last_run
from tests.reference import reference_file

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CONFIGS = pathlib.Path(str(importlib.resources.files("lxmert_tf.configs"))) / "pipeline"
SMALL = ("task.epochs=1", "task.batch_size=8", "least_accuracy=0")
# The release's first 5000 rows of val2014 are minival; here it is the first eight.
VQA_ROWS = ("parts.minival.regions.0.rows=[0,8]", "parts.nominival.regions.0.rows=[8,null]")
ANSWERS = ("yes", "no", "red", "2")
TEXTS = ("is there a dog on the table", "is it red", "what color is the dog", "how many dogs")


def write_regions(path: pathlib.Path, ids: Iterable[str]) -> None:
    rows = reference_file("coco_obj36_sample.tsv").read_text().splitlines()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for image_id, row in zip(ids, itertools.cycle(rows)):
            file.write(f"{image_id}\t{row.partition(chr(9))[2]}\n")


def write_json(path: pathlib.Path, content: list) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_pretrained(folder: pathlib.Path) -> None:
    """Write the preset that the configurations start from."""
    words = sorted({word for text in TEXTS for word in text.split()})
    vocabulary = [*SPECIAL_PIECES, *words]
    answers = [entry["ans"] for entry in json.loads(reference_file("all_ans.json").read_text())]
    config = LxmertConfig(
        hidden_size=16,
        num_attention_heads=2,
        intermediate_size=32,
        language_layers=1,
        cross_layers=1,
        relationship_layers=1,
        vocab_size=len(vocabulary),
        num_answers=len(answers),
    )
    model = LxmertPretrainer(config, vocabulary=vocabulary, answers=answers)
    model.save_preset(folder / "build" / "presets" / "pretrained")


def questions(ids: Iterable[str], first: int, **types: str) -> list[dict]:
    """Two questions about each image, as data/vqa/*.json and data/gqa/*.json have them."""
    return [
        {
            "question_id": first + 2 * number + i,
            "img_id": image_id,
            "sent": f"{TEXTS[(number + 2 * i) % 4].capitalize()}?",
            "label": {ANSWERS[(number + 2 * i) % 4]: 1.0, ANSWERS[(number + 2 * i + 1) % 4]: 0.3},
            **types,
        }
        for number, image_id in enumerate(ids)
        for i in (0, 1)
    ]


def write_vqa(data: pathlib.Path) -> None:
    train = [f"COCO_train2014_{number:012d}" for number in range(1, 400)]
    validation = [name for name in train if hash_percent(name) < 2]
    # Validation is two percent of train; two images of 24 are enough.
    train = [*[name for name in train if name not in validation][:22], *validation[:2]]
    val = [f"COCO_val2014_{number:012d}" for number in range(1000, 1016)]
    write_regions(data / "mscoco_imgfeat" / "train2014_obj36.tsv", train)
    write_regions(data / "mscoco_imgfeat" / "val2014_obj36.tsv", val)
    types = {"question_type": "is there a", "answer_type": "yes/no"}
    for name, ids in {"train": train, "minival": val[:8], "nominival": val[8:]}.items():
        first = 1000 * int(ids[0][-12:])
        write_json(data / "vqa" / f"{name}.json", questions(ids, first, **types))


def write_gqa(data: pathlib.Path) -> None:
    images = [str(number) for number in range(2405722, 2405746)]
    testdev = [f"n{number}" for number in range(161313, 161321)]
    write_regions(data / "vg_gqa_imgfeat" / "vg_gqa_obj36.tsv", images)
    write_regions(data / "vg_gqa_imgfeat" / "gqa_testdev_obj36.tsv", testdev)
    parts = {"train": images[:16], "valid": images[16:22], "testdev": testdev}
    for number, (name, ids) in enumerate(parts.items(), start=1):
        write_json(data / "gqa" / f"{name}.json", questions(ids, 10_000_000 * number))


def write_nlvr2(data: pathlib.Path) -> None:
    for name, prefix, sets in (("train", "train", 8), ("valid", "dev", 4), ("test", "test1", 4)):
        pairs = [f"{prefix}-{number}-{pair}" for number in range(sets) for pair in (0, 1)]
        ids = [f"{pair}-img{side}" for pair in pairs for side in (0, 1)]
        write_regions(data / "nlvr2_imgfeat" / f"{name}_obj36.tsv", ids)
        statements = [
            {
                "identifier": f"{pair}-{number}",
                "img0": f"{pair}-img0",
                "img1": f"{pair}-img1",
                "label": (place + number) % 2,
                "sent": TEXTS[number],
                "uid": f"{name}-{place}-{number}",
            }
            for place, pair in enumerate(pairs)
            for number in (0, 1)
        ]
        write_json(data / "nlvr2" / f"{name}.json", statements)


class Case(NamedTuple):
    name: str
    writer: object
    overrides: tuple[str, ...]
    # The annotations of the gate's split, and what is in it.
    annotations: str
    sentences: int


CASES = [
    Case("vqa", write_vqa, VQA_ROWS, "data/vqa/minival.json", 16),
    Case("gqa", write_gqa, (), "data/gqa/testdev.json", 16),
    Case("nlvr2", write_nlvr2, (), "data/nlvr2/test.json", 16),
]


class Run(NamedTuple):
    case: Case
    folder: pathlib.Path
    printed: str
    record: RunRecord

    @property
    def pushed(self) -> pathlib.Path:
        return pathlib.Path(self.record.pushed_to)

    def files(self, split: str) -> list[str]:
        return find_records(f"{self.record.uris['SceneExampleGen', 'examples']}/Split-{split}")


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def run(request, tmp_path_factory) -> Run:
    case, folder = request.param, tmp_path_factory.mktemp(request.param.name)
    case.writer(folder / "data")
    write_pretrained(folder)
    overrides = [*SMALL, *case.overrides]
    if case.name != "nlvr2":
        # The release's answer table, as configs/task/ says.
        table = reference_file(f"{case.name}_trainval_label2ans.json")
        overrides.append(f"task.answers={table}")
    command = ["pipeline", "run", "--config", str(CONFIGS / f"{case.name}.yaml")]
    command += [word for change in overrides for word in ("--set", change)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert cli.main(command) == 0
    root = folder / "build" / "pipeline" / case.name
    return Run(case, folder, printed.getvalue(), read_last_run(root / "metadata.sqlite"))


def test_every_component_ran_and_the_model_was_pushed(run):
    assert set(run.record.states.values()) == {"COMPLETE"}
    assert run.pushed.parent == run.folder / "saved_models" / run.case.name
    assert f"pushed: {run.pushed}" in run.printed
    assert (run.folder / "build" / "pipeline" / run.case.name / "report.html").is_file()


def test_training_started_from_the_pretrained_preset(run):
    preset = json.loads((run.pushed / "assets.extra" / "preset" / "config.json").read_text())
    assert (preset["hidden_size"], preset["region_feature_size"]) == (16, 2048)


def test_the_gate_is_on_the_official_scores_of_its_split(run, capsys, monkeypatch):
    monkeypatch.chdir(run.folder)
    command = ["evaluate", "--task", run.case.name, "--annotations", run.case.annotations]
    command += ["--model", str(run.pushed / "assets.extra" / "preset")]
    assert cli.main([*command, "--examples", *run.files("test"), "--json", "scores.json"]) == 0
    overall = json.loads(pathlib.Path("scores.json").read_text())["scores"]["overall"]
    share, count = run.record.accuracy()["all"]
    assert (overall["accuracy"]["count"], count) == (run.case.sentences, run.case.sentences)
    assert 100 * share == pytest.approx(overall["accuracy"]["value"], abs=1e-4)
    if run.case.name == "nlvr2":
        assert run.record.scores("nlvr2").to_dict()["scores"]["overall"] == overall


def test_the_pushed_model_answers_the_records(run):
    records = [r.numpy() for r in tf.data.TFRecordDataset(run.files("test"), "GZIP")]
    model = tf.saved_model.load(str(run.pushed))
    found = model.signatures["serve_examples"](examples=tf.constant(records))["answers"].numpy()
    assert len(found) == len(records) == run.case.sentences
    scenes = [decode_scene(record) for record in records]
    assert {len(scene.images) for scene in scenes} == {2 if run.case.name == "nlvr2" else 1}
    assert {len(image.regions) for scene in scenes for image in scene.images} == {36}
