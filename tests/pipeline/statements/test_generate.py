"""Tests of writing balanced statements."""

import collections
import json
import random

import pytest
from PIL import Image

from lxmert_tf.cli import main as cli
from lxmert_tf.errors import InputError
from pipeline.ingest.files import find_inputs
from pipeline.ingest.registry import make_sentence_reader
from pipeline.statements.generate import StatementsConfig, write_statements
from tests.pipeline.statements.drawn_scenes import draw, tower


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    generator = random.Random(0)
    colors = ["black", "yellow", "blue"]
    for number in range(24):
        folder = root / str(number % 2)
        folder.mkdir(exist_ok=True)
        towers = [tower(*generator.choices(colors, k=generator.randint(1, 4))) for _ in range(3)]
        for order in range(2):
            Image.fromarray(draw(*towers)).save(folder / f"train-{number}-0-{order}.png")
    return root


def test_each_statement_is_true_of_half_of_its_images(images, tmp_path):
    lines = _write(images, tmp_path / "made.jsonl", count=400)
    truths = collections.defaultdict(list)
    for line in lines:
        truths[line["sentence"]].append(line["answers"])
    assert len(lines) == 400 and len(truths) > 30
    for answers in truths.values():
        assert answers.count("True") == answers.count("False")
    assert {line["image"][-1] for line in lines} == set("012345")


def test_the_same_seed_writes_the_same_bytes(images, tmp_path):
    paths = [tmp_path / name / "made.jsonl" for name in ("one", "two", "other")]
    for path, seed in zip(paths, (1, 1, 2)):
        path.parent.mkdir()
        _write(images, path, count=40, seed=seed)
    one, two, other = (path.read_bytes() for path in paths)
    assert one == two != other


def test_only_images_of_the_folders_are_used(images, tmp_path):
    lines = _write(images, tmp_path / "made.jsonl", count=80, folders=("[1-9]*",))
    assert {int(line["image"].split("-")[1]) % 2 for line in lines} == {1}


def test_statements_have_a_limited_length(images, tmp_path):
    lines = _write(images, tmp_path / "made.jsonl", count=80, most_words=6)
    assert max(len(line["sentence"].split()) for line in lines) <= 6


def test_lessons_ask_for_numbers_and_colors_and_make_statements(images, tmp_path):
    lines = _write(images, tmp_path / "made.jsonl", count=2000, lesson=3)
    answers = collections.defaultdict(set)
    for line in lines:
        answers[" ".join(line["sentence"].split()[:2])].add(line["answers"])
    assert answers["what color"] == {"black", "yellow", "blue"}
    assert answers["how many"] >= {"0", "1", "2", "3", "4", "5"}
    assert answers["there is"] == {"True", "False"}


def test_the_first_lesson_is_the_simplest(images, tmp_path):
    lines = _write(images, tmp_path / "made.jsonl", count=400, lesson=1)
    beginnings = {" ".join(line["sentence"].split()[:2]) for line in lines}
    assert beginnings == {"how many", "there is"}
    assert max(len(line["sentence"].split()) for line in lines) <= 9


def test_a_sentence_alone_does_not_tell_the_answer(images, tmp_path):
    lines = _write(images, tmp_path / "made.jsonl", count=400, lesson=2)
    answers = collections.defaultdict(list)
    for line in lines:
        answers[line["sentence"]].append(line["answers"])
    for given in answers.values():
        assert max(map(given.count, given)) <= len(given) / 2


def test_answers_that_depend_on_the_order_of_the_boxes_are_about_the_first(images, tmp_path):
    lines = _write(images, tmp_path / "made.jsonl", count=400, lesson=2)
    orders = collections.defaultdict(set)
    for line in lines:
        orders[line["sentence"].endswith(("left box", "middle box", "right box"))].add(
            line["image"][-1]
        )
    assert orders == {True: {"0"}, False: set("012345")}


def test_the_command_names_the_option_that_is_wrong(images, tmp_path, capsys):
    argv = ["statements", "--images", str(images), "--output", str(tmp_path / "made.jsonl")]
    assert cli.main([*argv, "--most-words", "4"]) == 2
    expected = "lxmert statements: --most-words is 4; it must be at least 5\n"
    assert capsys.readouterr().err == expected


def test_the_file_can_be_ingested(images, tmp_path):
    _write(images, tmp_path / "made.jsonl", count=4)
    [file] = find_inputs([str(tmp_path / "made.jsonl")])
    read = list(make_sentence_reader("json_lines").read(file))
    assert {sentence.sentence.source for sentence in read} == {"nlvr"}
    answers = sorted(sentence.sentence.answers for sentence in read)
    assert answers == [((answer, 1.0),) for answer in ("False", "False", "True", "True")]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"folders": ("7",)}, "no images in the folders 7 are named as NLVR's"),
        ({"count": 0}, "count is 0"),
        ({"most_words": 4}, "most_words is 4"),
        ({"lesson": 4}, "lesson is 4; it must be from 1 to 3, or 0"),
    ],
)
def test_wrong_arguments_are_refused(images, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        _write(images, tmp_path / "made.jsonl", **change)
    assert not list(tmp_path.iterdir())


def test_images_that_are_all_alike_are_refused(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(draw(tower("blue"), "", "")).save(folder / "train-0-0-0.png")
    with pytest.raises(InputError, match="too few"):
        _write(folder, tmp_path / "made.jsonl", count=4)
    assert not (tmp_path / "made.jsonl").exists()


def _write(images, path, **config):
    write_statements(StatementsConfig((str(images),), **config), path)
    return [json.loads(line) for line in path.read_text().splitlines()]
