"""GQA's scores against numbers worked out by hand, and files that are not its."""

import json

import pytest

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.gqa import score_gqa


def question(answer, structural, semantic, group=None, entailed=(), balanced=True, detailed="x"):
    return {
        "question": "Is it?",
        "imageId": "2370799",
        "answer": answer,
        "isBalanced": balanced,
        "types": {"structural": structural, "semantic": semantic, "detailed": detailed},
        "groups": {"global": group, "local": "06-chair_green"},
        "entailed": list(entailed),
        "equivalent": [],
    }


QUESTIONS = {
    "q1": question("red", "query", "attr", "color", entailed=["q1", "q2", "u1"]),
    "q2": question("yes", "verify", "attr"),
    "q3": question("blue", "query", "obj", "color", entailed=["u1"], detailed="twoCommon"),
    "q4": question("left", "compare", "rel", "place", entailed=["q1"]),
    "q5": question("red", "query", "attr", "color"),
    "u1": question("yes", "verify", "global", "sky", balanced=False),
}
# Right: q1, q4, u1.
PREDICTIONS = {"q1": "red", "q2": "no", "q3": "red", "q4": "left", "q5": "green", "u1": "yes"}
CHOICES = {
    "q1": {"valid": ["red", "blue"], "plausible": ["red"]},
    "q2": {"valid": ["yes", "no"], "plausible": ["yes", "no"]},
    "q3": {"valid": ["red"], "plausible": ["red"]},
    "q4": {"valid": ["left", "right"], "plausible": ["left"]},
    "q5": {"valid": ["green"], "plausible": ["red"]},
}


@pytest.fixture
def write(tmp_path):
    def write(content, name="questions.json"):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    return write


def rows(report, group="overall"):
    return {score.name: (pytest.approx(score.value), score.count) for score in report.groups[group]}


def test_scores_are_those_of_counting_by_hand(write):
    report = score_gqa(PREDICTIONS, write(QUESTIONS), write(CHOICES, "choices.json"))
    assert rows(report) == {
        "accuracy": (40, 5),  # q1 and q4 of five; u1 is not balanced
        "binary": (50, 2),  # q4 of q2, q4
        "open": (100 / 3, 3),  # q1 of q1, q3, q5
        # From q1 follow q2 (wrong) and u1 (right): 1/2. From q4 follows q1: 1. q3 is wrong itself.
        "consistency": (75, 2),
        # All but q3: what things have in common is color, material or shape, whatever is listed.
        "validity": (80, 5),
        "plausibility": (60, 5),  # q1, q2, q4
        # color, three questions: red 2 and blue 1 expected; red 2, blue 0 given: 0/2 + 1/1 = 1.
        # place, one question: 0. (3 x 1 + 1 x 0) / 4 / 100.
        "distribution": (0.0075, 4),
    }
    assert rows(report, "structural type") == {
        "compare": (100, 1),
        "query": (100 / 3, 3),
        "verify": (0, 1),
    }
    assert rows(report, "semantic type") == {"attr": (100 / 3, 3), "obj": (0, 1), "rel": (100, 1)}


def test_a_common_attribute_may_be_a_color_material_or_shape(write):
    common = {**PREDICTIONS, "q3": "color"}
    report = score_gqa(common, write(QUESTIONS), write(CHOICES, "choices.json"))
    assert rows(report)["validity"] == (100, 5)
    assert rows(report)["plausibility"] == (80, 5)


def test_distribution_of_frequencies_that_agree_is_zero(write):
    # Two red, one blue are expected for color; the questions may differ.
    swapped = {**PREDICTIONS, "q1": "blue", "q3": "red", "q5": "red"}
    assert rows(score_gqa(swapped, write(QUESTIONS)))["distribution"] == (0, 4)


def test_distribution_weighs_groups_by_their_size(write):
    # color: red 2, blue 1 expected, none given: 4/2 + 1/1 = 3. place: 1/1 = 1.
    wrong = dict.fromkeys(PREDICTIONS, "x")
    report = score_gqa(wrong, write(QUESTIONS))
    assert rows(report)["distribution"] == (0.025, 4)  # (3 x 3 + 1 x 1) / 4 / 100


def test_consistency_over_part_of_the_questions_has_another_name(write):
    balanced = {name: text for name, text in PREDICTIONS.items() if name != "u1"}
    scores = rows(score_gqa(balanced, write(QUESTIONS)))
    assert "consistency" not in scores
    assert scores["consistency among predicted"] == (50, 2)  # q2 wrong: 0; q1 right: 1


def test_consistency_of_nothing_answered_rightly_is_left_out(write):
    scores = rows(score_gqa(dict.fromkeys(PREDICTIONS, "x"), write(QUESTIONS)))
    assert not [name for name in scores if name.startswith("consistency")]


def test_answers_must_match_exactly(write):
    scores = rows(score_gqa({**PREDICTIONS, "q1": "Red"}, write(QUESTIONS)))
    assert scores["accuracy"] == (20, 5)


def test_labels_of_the_release_have_their_accuracy(write):
    labels = [
        {"img_id": "n1", "label": {"pipe": 1.0}, "question_id": "07333408", "sent": "What?"},
        {"img_id": "n2", "label": {"yes": 1}, "question_id": 1, "sent": "Is it?"},
    ]
    report = score_gqa({"07333408": "pipe", "1": "no"}, write(labels))
    assert rows(report) == {"accuracy": (50, 2)}
    assert list(report.groups) == ["overall"]


def refusal(predictions, *paths):
    with pytest.raises(InputError) as caught:
        score_gqa(predictions, *paths)
    return str(caught.value)


def test_balanced_questions_must_be_predicted(write):
    path = write(QUESTIONS)
    line = refusal({"q1": "red", "u1": "yes"}, path)
    assert line == f"questions of {path} without a prediction: 4 of 5, the first is 'q2'"


def test_predictions_for_other_questions_are_refused(write):
    line = refusal({**PREDICTIONS, "q9": "x"}, write(QUESTIONS))
    assert line.endswith("the first is 'q9'")


def test_question_that_stands_twice_is_refused(tmp_path, write):
    path = tmp_path / "twice.json"
    one = json.dumps(QUESTIONS["q2"])
    path.write_text(f'{{"q2": {one}, "q2": {one}}}')
    assert "duplicate key 'q2'" in refusal({"q2": "no"}, path)
    label = {"label": {"yes": 1.0}, "question_id": "1"}
    assert "duplicate question IDs: 1, the first" in refusal({"1": "no"}, write([label, label]))


def test_choices_that_lack_a_question_are_refused(write):
    choices = {name: choice for name, choice in CHOICES.items() if name != "q4"}
    path = write(choices, "choices.json")
    line = refusal(PREDICTIONS, write(QUESTIONS), path)
    assert line == f"{path}: missing questions: 1 of 5, the first is 'q4'"


def test_choices_beside_labels_of_the_release_are_refused(write):
    labels = write([{"label": {"yes": 1.0}, "question_id": "1"}])
    line = refusal({"1": "yes"}, labels, write(CHOICES, "choices.json"))
    assert "must be an official questions file" in line


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        # A test split, a file of choices, VQA's annotations.
        ({"1": {"question": "?", "imageId": "n1", "isBalanced": True}}, "'1.answer' is missing"),
        (CHOICES, "the key 'q1.answer' is missing"),
        ({"annotations": []}, "annotations is []; it must be an object"),
        (
            [{"question_id": 1.5, "label": {}}],
            "[0].question_id: 1.5 must be an integer or a string",
        ),
        ({"q": {**QUESTIONS["q1"], "isBalanced": 1}}, "q.isBalanced is 1"),
        ({"q": {**QUESTIONS["q1"], "entailed": "q2"}}, "q.entailed is 'q2'"),
        ({"q": {**QUESTIONS["q1"], "groups": {}}}, "'q.groups.global' is missing"),
        ({}, "no questions to score"),
        ({"u": QUESTIONS["u1"]}, "no questions to score"),
        (None, "must be an object"),
    ],
)
def test_questions_of_another_kind_are_refused(write, content, reason):
    assert reason in refusal({}, write(content))
