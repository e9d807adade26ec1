"""NLVR's accuracy and consistency against numbers worked out by hand, and bad files."""

import json

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.nlvr import score_nlvr

# Two sentences: 72 was written for two of these examples, 7 for one.
LABELS = {"72-0": "true", "72-3": "false", "7-0": "true"}
STATEMENTS = {
    "72": "There are two black blocks.",
    "7": "No item is left of an edge in the gray box.",
}
OPPOSITE = {"true": "false", "false": "true"}


def as_lines(labels):
    rows = [
        {"identifier": i, "label": label, "sentence": STATEMENTS.get(i.partition("-")[0], "x")}
        for i, label in labels.items()
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def all_right(split="dev"):
    return {f"{split}-{i}-{k}": label for i, label in LABELS.items() for k in range(6)}


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "dev.json"
    path.write_text(as_lines(LABELS))
    return path


def numbers(report, group="overall"):
    return {score.name: (score.value, score.count) for score in report.groups[group]}


def test_a_sentence_is_consistent_if_all_images_of_its_examples_are_right(annotations):
    predictions = {**all_right(), "dev-72-3-5": "true"}
    scores = numbers(score_nlvr(predictions, annotations))
    assert scores == {"accuracy": (pytest.approx(1700 / 18), 18), "consistency": (50, 2)}


def test_orders_of_the_boxes_are_images_of_their_own(annotations):
    # One order of every example is right: 3 of 18.
    predictions = {
        name: label if name.endswith("-0") else OPPOSITE[label]
        for name, label in all_right().items()
    }
    scores = numbers(score_nlvr(predictions, annotations))
    assert scores == {"accuracy": (pytest.approx(300 / 18), 18), "consistency": (0, 2)}


def test_a_statement_counts_for_each_of_its_phenomena(annotations):
    predictions = {name: OPPOSITE[label] for name, label in all_right().items()}
    right = {name: label for name, label in all_right().items() if "-72-0-" in name}
    report = score_nlvr({**predictions, **right}, annotations)
    assert numbers(report, "phenomenon") == {
        "boxes": (0, 6),
        "color": (50, 12),
        "counting": (50, 12),
        "negation": (0, 6),
        "position": (0, 6),
    }
    lengths = numbers(report, "sentence length")
    assert lengths == {"1 to 7 words": (50, 12), "10 to 11 words": (0, 6)}


@pytest.mark.parametrize("split", ["dev", "train", "elsewhere"])
def test_neither_case_nor_split_matters(annotations, split):
    predictions = {name: label.capitalize() for name, label in all_right(split).items()}
    report = score_nlvr(predictions, annotations)
    assert numbers(report) == {"accuracy": (100, 18), "consistency": (100, 2)}
    assert report.to_dict()["task"] == "nlvr"


def refusal(predictions, path):
    with pytest.raises(InputError) as caught:
        score_nlvr(predictions, path)
    return str(caught.value)


def test_predictions_must_be_for_these_images(annotations):
    fewer = {name: label for name, label in all_right().items() if name != "dev-7-0-2"}
    line = refusal(fewer, annotations)
    assert line.endswith("without a prediction: 1 of 18, the first is '7-0-2'")
    line = refusal({**all_right(), "dev-8-0-0": "true"}, annotations)
    assert line.startswith("predictions for questions that are not in ")
    line = refusal({**all_right(), "test-7-0-0": "true"}, annotations)
    assert line == "the predictions: duplicate question IDs: 1, the first is '7-0-0'"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (as_lines(LABELS) * 2, "duplicate question IDs: 3, the first is '72-0'"),
        (as_lines(LABELS)[:-20], " line 3: not valid JSON"),
        (as_lines({"72-0": "True"}), " line 1: label is 'True'; it must be 'true' or 'false'"),
        (as_lines({"dev-850-0-0": "true"}), "identifier is 'dev-850-0-0'; it must match"),
        ('{"identifier": "72-0"}', "the key 'label' is missing"),
        ('{"identifier": "72-0", "label": "true"}', "the key 'sentence' is missing"),
        ("", "no questions to score"),
        ("[3]", " line 1: [3] must be an object"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, text, reason):
    path = tmp_path / "bad.json"
    path.write_text(text)
    assert reason in refusal({}, path)
