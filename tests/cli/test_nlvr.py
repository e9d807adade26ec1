"""NLVR in its published layout: `lxmert ingest`, `lxmert predict`, `lxmert evaluate`."""

import dataclasses
import json
import zipfile

import pytest
from PIL import Image, ImageDraw
from tensorflow import keras

from lxmert_tf import LxmertAnswerClassifier
from lxmert_tf.data.batches import find_records, read_records
from lxmert_tf.data.schema import decode_scene
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from tests.nlvr_clone import ROOT
from tests.serving.tiny import SIZES

WORDS = ("there", "is", "a", "yellow", "blue", "item", ".")
COLORS = ("yellow", "#0099ff", "black")
# The first two were written for one presentation, so that two sentences are left.
EXAMPLES = {"72-0": ("0", "true"), "72-1": ("0", "false"), "9-0": ("1", "true")}
TEXTS = {"72": "There is a yellow item.", "9": "There is a blue item."}


def draw(path, order):
    """A picture of NLVR: three gray boxes on white, with an object each."""
    picture = Image.new("RGB", (400, 100), "white")
    pen = ImageDraw.Draw(picture)
    for box in range(3):
        pen.rectangle([150 * box, 0, 150 * box + 99, 99], fill="lightgray")
        pen.rectangle([150 * box + 30, 30, 150 * box + 69, 69], fill=COLORS[(box + order) % 3])
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What `git clone` of NLVR's repository leaves of dev, with a few pictures."""
    folder = tmp_path_factory.mktemp("clone")
    lines = []
    for identifier, (directory, label) in EXAMPLES.items():
        text = TEXTS[identifier.split("-")[0]]
        line = {"sentence": text, "label": label, "identifier": identifier, "evals": {"r1": label}}
        lines.append(json.dumps(line) + "\n")
        for order in range(6):
            name = f"dev-{identifier}-{order}.png"
            draw(folder / "nlvr" / "dev" / "images" / directory / name, order)
    (folder / "nlvr" / "dev" / "dev.json").write_text("".join(lines))
    (folder / "nlvr" / "dev" / "html_rand_page.py").write_text("# not an image\n")
    (folder / "README.md").write_text("The NLVR corpora\n")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model that does not give one answer to all."""
    vocabulary = [*SPECIAL_PIECES, *WORDS]
    sizes = {"vocab_size": len(vocabulary), "num_answers": 2, "region_feature_size": 256}
    keras.utils.set_random_seed(0)
    model = LxmertAnswerClassifier(
        dataclasses.replace(SIZES, **sizes), vocabulary=vocabulary, answers=["False", "True"]
    )
    directory = tmp_path_factory.mktemp("model") / "preset"
    model.save_preset(directory)
    return directory


def ingest(lxmert, *regions, sentences):
    return lxmert(
        *("ingest", "--regions", *regions, "--sentences", sentences),
        *("--sentences-format", "nlvr", "--output", "records"),
    )


def sentences_in(folder):
    scenes = [decode_scene(record.numpy()) for record in read_records(find_records(folder))]
    return {scene.images[0].id: scene.sentences for scene in scenes}


def numbers(stdout):
    """Return {name: (count, score)} of the printed table."""
    lines = [line.replace("│", " ").split() for line in stdout.splitlines()]
    return {line[0]: tuple(line[1:]) for line in lines if len(line) == 3}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_every_image_gets_its_statement(lxmert, clone, tmp_path, form):
    regions, dev = clone, clone / "nlvr" / "dev" / "dev.json"
    if form == "zip":
        regions = tmp_path / "dev.zip"
        with zipfile.ZipFile(regions, "w") as archive:
            for path in sorted(clone.rglob("*")):
                archive.write(path, path.relative_to(clone))
    outcome = ingest(lxmert, regions, sentences=dev)
    assert (outcome.status, outcome.stderr) == (0, "")
    summary = json.loads((tmp_path / "records" / "ingest-summary.json").read_text())
    assert summary["images"] == {"read": 18, "written": 18, "rejected": 0}
    assert summary["sentences"] == {"read": 18, "written": 18, "rejected": 0}
    found = sentences_in(tmp_path / "records")
    assert len(found) == 18
    for image, [sentence] in found.items():
        _, presentation, position, _ = image.split("-")
        label = EXAMPLES[f"{presentation}-{position}"][1]
        assert (sentence.id, sentence.text) == (image, TEXTS[presentation])
        assert sentence.answers == ((label.capitalize(), 1.0),)


@pytest.mark.slow
def test_predictions_are_scored_as_the_official_script_does(lxmert, clone, model, tmp_path):
    dev = clone / "nlvr" / "dev" / "dev.json"
    assert ingest(lxmert, clone / "nlvr", sentences=dev).status == 0
    outcome = lxmert(
        *("predict", "--task", "nlvr", "--model", model),
        *("--examples", "records", "--output", "mine.csv"),
    )
    assert (outcome.status, outcome.stderr) == (0, "")
    rows = [line.split(",") for line in (tmp_path / "mine.csv").read_text().splitlines()]
    predictions = dict(rows)
    assert len(rows) == len(predictions) == 18
    right = {
        identifier: [predictions[f"dev-{identifier}-{order}.png"] == label for order in range(6)]
        for identifier, (_, label) in EXAMPLES.items()
    }
    points = [point for points in right.values() for point in points]
    assert 0 < sum(points) < 18
    consistent = [all(right["72-0"] + right["72-1"]), all(right["9-0"])]
    expected = {
        "accuracy": ("18", f"{100 * sum(points) / 18:.2f}%"),
        "consistency": ("2", f"{50 * sum(consistent):.2f}%"),
        "color": ("18", f"{100 * sum(points) / 18:.2f}%"),
    }
    outcome = lxmert(
        *("evaluate", "--task", "nlvr", "--predictions", "mine.csv", "--annotations", dev)
    )
    assert (outcome.status, numbers(outcome.stdout)) == (0, expected)


def test_a_file_with_another_name_than_its_images_is_told_so(lxmert, clone, tmp_path):
    dev = clone / "nlvr" / "dev" / "dev.json"
    (tmp_path / "mine.json").write_bytes(dev.read_bytes())
    outcome = ingest(lxmert, clone / "nlvr", sentences="mine.json")
    assert outcome.status == 1
    [line] = outcome.stderr.splitlines()
    assert "the names of the images differ, such as image 'dev-72-0-0'" in line
    assert "a sentence about 'mine-" in line


def test_the_published_files(lxmert, tmp_path):
    if not (ROOT / "dev.zip").is_file():
        pytest.skip("needs NLVR's dev.json and dev.zip; set LXMERT_NLVR to their folder")
    lines = (ROOT / "dev.json").read_text().splitlines(keepends=True)
    first = [json.loads(line) for line in lines if json.loads(line)["directory"] == "0"][:5]
    (tmp_path / "dev.json").write_text("".join(json.dumps(line) + "\n" for line in first))
    with zipfile.ZipFile(ROOT / "dev.zip") as archive:
        for line in first:
            for order in range(6):
                name = f"dev-{line['identifier']}-{order}.png"
                archive.extract(f"nlvr/dev/images/{line['directory']}/{name}", tmp_path)
    outcome = ingest(lxmert, "nlvr", sentences="dev.json")
    assert (outcome.status, outcome.stderr) == (0, "")
    found = sentences_in(tmp_path / "records")
    assert len(found) == 30
    for line in first:
        for order in range(6):
            [sentence] = found[f"dev-{line['identifier']}-{order}"]
            assert sentence.text == line["sentence"]
            assert sentence.answers == ((line["label"].capitalize(), 1.0),)
