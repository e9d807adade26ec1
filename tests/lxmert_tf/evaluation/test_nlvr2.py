"""NLVR2's accuracy and consistency against numbers worked out by hand, and bad files."""

import json

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.nlvr2 import score_nlvr2

LABELS = {
    "dev-850-0-0": "True",
    "dev-850-1-0": "False",
    "dev-850-0-1": "False",
    "dev-85-0-0": "True",
    "dev-85-2-0": "True",
}


def as_lines(labels):
    rows = [{"identifier": i, "label": label, "sentence": "x"} for i, label in labels.items()]
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_list(labels):
    return json.dumps(
        [
            {
                "identifier": identifier,
                "img0": "dev-850-0-img0",
                "img1": "dev-850-0-img1",
                "label": int(label == "True"),
                "sent": "x",
                "uid": f"nlvr2_{identifier}",
            }
            for identifier, label in labels.items()
        ]
    )


@pytest.fixture(params=[as_lines, as_list], ids=["official", "release"])
def annotations(request, tmp_path):
    path = tmp_path / "dev.json"
    path.write_text(request.param(LABELS))
    return path


def numbers(report):
    return {score.name: (score.value, score.count) for score in report.groups["overall"]}


def test_a_sentence_is_consistent_if_all_its_pairs_are_right(annotations):
    # Three sentences: 850's first on two pairs, 850's second on one, 85's first on two.
    # One example of 850's first sentence is wrong: 4 of 5 examples, 2 of 3 sentences.
    predictions = {**LABELS, "dev-850-1-0": "True"}
    scores = numbers(score_nlvr2(predictions, annotations))
    assert scores == {
        "accuracy": (pytest.approx(80), 5),
        "consistency": (pytest.approx(200 / 3), 3),
    }


def test_all_right_and_all_wrong(annotations):
    right = score_nlvr2(LABELS, annotations)
    assert numbers(right) == {"accuracy": (100, 5), "consistency": (100, 3)}
    opposite = {"True": "False", "False": "True"}
    wrong = score_nlvr2({i: opposite[label] for i, label in LABELS.items()}, annotations)
    assert numbers(wrong) == {"accuracy": (0, 5), "consistency": (0, 3)}


def test_case_does_not_matter(annotations):
    lower = {identifier: label.lower() for identifier, label in LABELS.items()}
    assert numbers(score_nlvr2(lower, annotations))["accuracy"] == (100, 5)


def refusal(predictions, path):
    with pytest.raises(InputError) as caught:
        score_nlvr2(predictions, path)
    return str(caught.value)


def test_predictions_must_be_for_these_examples(annotations):
    line = refusal({"dev-850-0-0": "True"}, annotations)
    assert "without a prediction: 4 of 5, the first is" in line
    assert line.endswith("the first is 'dev-850-1-0'")
    line = refusal({**LABELS, "test1-0-0-0": "True"}, annotations)
    assert line.startswith("predictions for questions that are not in ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (as_lines(LABELS) * 2, "duplicate question IDs: 5, the first is 'dev-850-0-0'"),
        (as_lines(LABELS)[:-20], " line 5: not valid JSON"),
        (as_lines({"dev-850-0-0": "yes"}), " line 1: label is 'yes'; it must be 'True' or 'False'"),
        (as_list({"dev-850-0-0": "True"}).replace("1,", "2,"), "[0].label is 2"),
        ('{"identifier": "dev-850-0-0"}', "the key 'label' is missing"),
        ("", "no questions to score"),
        ("[]", "no questions to score"),
        ("[3]", "[0] is 3; it must be an object"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, text, reason):
    path = tmp_path / "bad.json"
    path.write_text(text)
    assert reason in refusal({}, path)


def test_identifier_without_its_four_parts_is_refused(tmp_path):
    path = tmp_path / "dev.json"
    labels = {"dev-850-0-0": "True", "dev-850-0": "True"}
    path.write_text(as_lines(labels))
    line = refusal(labels, path)
    assert "'dev-850-0' must have the form split-set-pair-sentence" in line


def test_own_identifiers_have_no_consistency(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps([{"identifier": "a", "label": 1}, {"identifier": 2, "label": 0}]))
    [score] = score_nlvr2({"a": "True", "2": "True"}, path).groups["overall"]
    assert (score.name, score.value, score.count) == ("accuracy", 50.0, 2)
