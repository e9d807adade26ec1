"""VQA's accuracy against numbers worked out by hand, its labels, and every kind of bad file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.vqa import score_vqa, soft_score, vqa_accuracy


def ten(*answers, other="other"):
    """The answers, and of the rest that each says something else."""
    return [*answers, *(f"{other} {number}" for number in range(10 - len(answers)))]


@pytest.mark.parametrize(
    ("people", "accuracy"),
    # Of n who said it, n subsets lack one: (n min(1, (n-1)/3) + (10-n) min(1, n/3)) / 10.
    [
        (0, 0.0),
        (1, 0.3),  # (1 x 0   + 9 x 1/3) / 10
        (2, 0.6),  # (2 x 1/3 + 8 x 2/3) / 10
        (3, 0.9),  # (3 x 2/3 + 7 x 1) / 10
        (4, 1.0),
        (9, 1.0),
        (10, 1.0),
    ],
)
def test_accuracy_grows_with_the_people_who_said_so(people, accuracy):
    answers = ten(*["red"] * people)
    assert vqa_accuracy("red", answers) == accuracy
    assert soft_score(answers).get("red", 0.0) == accuracy


def test_prediction_and_answers_are_normalized():
    assert vqa_accuracy("A Dog.", ten("dog", "the dog", "dog!")) == 0.9
    assert vqa_accuracy("two", ten("2")) == 0.3


def test_nothing_is_normalized_where_all_agree():
    assert vqa_accuracy("2", ["two"] * 10) == 0
    assert vqa_accuracy("two", ["two"] * 10) == 1
    assert vqa_accuracy("Two", ["two"] * 10) == 0
    # Blanks, line breaks and tabs at the ends never count, also for whether all agree.
    assert vqa_accuracy(" two\n", ["two"] * 9 + ["\ttwo"]) == 1
    assert vqa_accuracy("2", ["two"] * 9 + ["\ttwo"]) == 0
    assert vqa_accuracy("on top", ["on\ttop"] * 10) == 1
    # One who writes it otherwise, and all are normalized.
    assert vqa_accuracy("2", ["two"] * 9 + ["Two"]) == 1


def test_an_answer_of_articles_alone_equals_others_of_that_kind():
    assert vqa_accuracy("the", ten("a", "?")) == 0.6
    assert soft_score(ten("a", "?"))[""] == 0.6


def test_labels_are_normalized_also_where_all_agree():
    assert soft_score(["Two"] * 10) == {"2": 1.0}
    assert soft_score(["yes"] * 7 + ["no"] * 2 + ["No."]) == {"yes": 1.0, "no": 0.9}


TENS = st.lists(
    st.sampled_from(["two", "2", "Two.", "a dog", "dog", "x/y"]), min_size=10, max_size=10
)


@given(TENS, st.permutations(range(10)))
def test_the_order_of_people_does_not_matter(answers, order):
    shuffled = [answers[place] for place in order]
    assert soft_score(shuffled) == soft_score(answers)
    for prediction in answers:
        assert vqa_accuracy(prediction, shuffled) == vqa_accuracy(prediction, answers)


@given(TENS, st.sampled_from(["two", "2", "dog", "cat"]))
def test_accuracy_is_the_label_where_people_disagree(answers, prediction):
    accuracy = vqa_accuracy(prediction, answers)
    assert 0 <= accuracy <= 1
    if len(set(answers)) > 1:
        label = soft_score(answers)
        assert accuracy == label.get("2" if prediction == "two" else prediction, 0.0)


def official(question_id, answers, answer_type="other", question_type="what"):
    return {
        "question_id": question_id,
        "question_type": question_type,
        "answer_type": answer_type,
        "answers": [
            {"answer": answer, "answer_confidence": "yes", "answer_id": number}
            for number, answer in enumerate(answers, start=1)
        ],
        "multiple_choice_answer": answers[0],
        "image_id": 42,
    }


def labeled(question_id, label, answer_type="other", question_type="what"):
    return {
        "question_id": question_id,
        "img_id": "COCO_val2014_000000000042",
        "sent": "What is it?",
        "question_type": question_type,
        "answer_type": answer_type,
        "label": label,
    }


@pytest.fixture
def write(tmp_path):
    def write(content, name="annotations.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


ENTRIES = [
    official(1, ten("red"), "other", "what color"),  # said by one: 0.3
    official(2, ten("yes", "yes"), "yes/no", "is the"),  # 0.6
    official(3, ["2"] * 10, "number", "how many"),  # 1
    official(4, ten("blue", "blue", "blue"), "other", "what color"),  # not what is predicted: 0
]
PREDICTIONS = {"1": "red", "2": "yes", "3": "2", "4": "green"}


def values(report):
    return {
        group: {score.name: (score.value, score.rounded, score.count) for score in rows}
        for group, rows in report.groups.items()
    }


def test_official_annotations_are_scored_by_type(write):
    report = score_vqa(PREDICTIONS, write({"info": {}, "annotations": ENTRIES}))
    assert values(report) == {
        "overall": {"accuracy": (pytest.approx(47.5), 47.5, 4)},  # (0.3 + 0.6 + 1 + 0) / 4
        "answer type": {
            "number": (100.0, 100.0, 1),
            "other": (pytest.approx(15), 15.0, 2),  # (0.3 + 0) / 2
            "yes/no": (pytest.approx(60), 60.0, 1),
        },
        "question type": {
            "how many": (100.0, 100.0, 1),
            "is the": (pytest.approx(60), 60.0, 1),
            "what color": (pytest.approx(15), 15.0, 2),
        },
    }


def test_scores_are_rounded_to_two_decimals_and_kept_unrounded(write):
    # 0.3 and twice 0: a mean of 0.1; 1, 0, 0: a third.
    third = score_vqa(
        {"1": "2", "2": "x", "3": "x"},
        write({"annotations": [official(n, ["2"] * 10) for n in (1, 2, 3)]}),
    )
    [score] = third.groups["overall"]
    assert (score.value, score.rounded) == (pytest.approx(100 / 3, abs=1e-12), 33.33)


def test_labels_of_the_release_are_scored_by_their_exact_text(write):
    annotations = write(
        [
            labeled(1, {"red": 0.3, "dark red": 1}, "other", "what color"),
            labeled(2, {"yes": 1.0}, "yes/no", "is the"),
            labeled(3, {}, "number", "how many"),
        ]
    )
    report = score_vqa({"1": "red", "2": "Yes", "3": "2"}, annotations)
    assert values(report) == {
        "overall": {"accuracy": (pytest.approx(10), 10.0, 3)},  # (0.3 + 0 + 0) / 3
        "answer type": {
            "number": (0.0, 0.0, 1),
            "other": (pytest.approx(30), 30.0, 1),
            "yes/no": (0.0, 0.0, 1),
        },
        "question type": {
            "how many": (0.0, 0.0, 1),
            "is the": (0.0, 0.0, 1),
            "what color": (pytest.approx(30), 30.0, 1),
        },
    }


def test_own_data_may_have_names_as_ids_and_no_types(write):
    own = [{"question_id": "q1", "label": {"cat": 1.0}}, {"question_id": 2, "label": {"dog": 1}}]
    report = score_vqa({"q1": "cat", "2": "cat"}, write(own))
    assert values(report) == {"overall": {"accuracy": (50.0, 50.0, 2)}}
    own[1]["question_type"] = "what"
    report = score_vqa({"q1": "cat", "2": "cat"}, write(own))
    assert values(report)["question type"] == {"(none)": (100.0, 100.0, 1), "what": (0.0, 0.0, 1)}


def test_the_list_of_vqa_cp_is_scored_as_the_official_annotations(write):
    expected = score_vqa(PREDICTIONS, write({"annotations": ENTRIES}))
    assert score_vqa(PREDICTIONS, write(ENTRIES)) == expected


def test_vizwiz_is_scored_by_the_names_of_its_images(write):
    def asked(number, answers, answer_type):
        return {
            "image": f"VizWiz_val_{number:08d}.jpg",
            "question": "what is this?",
            "answers": [{"answer": one, "answer_confidence": "yes"} for one in answers],
            "answer_type": answer_type,
            "answerable": 1,
        }

    path = write(
        [
            asked(0, ["soda"] * 2 + ["unanswerable"] * 8, "unanswerable"),
            asked(1, ["a can"] * 10, "other"),
        ]
    )
    predictions = {"VizWiz_val_00000000": "soda", "VizWiz_val_00000001": "a can"}
    report = score_vqa(predictions, path)
    assert [score.value for score in report.groups["overall"]] == [pytest.approx(80)]
    assert {s.name: s.value for s in report.groups["answer type"]} == {
        "unanswerable": pytest.approx(60),
        "other": 100,
    }
    assert "question type" not in report.groups
    # A test file has no answers.
    path = write([{"image": "VizWiz_test_00000000.jpg", "question": "what is this?"}])
    assert "the key '[0].answers' is missing" in refusal(predictions, path)


@given(st.lists(TENS, min_size=1, max_size=4), st.sampled_from(["two", "2", "dog", ""]))
def test_scores_are_percentages(tmp_path_factory, tens, prediction):
    path = tmp_path_factory.mktemp("vqa") / "a.json"
    path.write_text(json.dumps({"annotations": [official(n, a) for n, a in enumerate(tens)]}))
    report = score_vqa({str(n): prediction for n in range(len(tens))}, path)
    assert all(0 <= score.value <= 100 for rows in report.groups.values() for score in rows)


def refusal(predictions, path):
    with pytest.raises(InputError) as caught:
        score_vqa(predictions, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_predictions_are_counted_and_the_first_is_named(write):
    path = write({"annotations": ENTRIES})
    line = refusal({"1": "red", "4": "blue"}, path)
    assert line == f"questions of {path} without a prediction: 2 of 4, the first is '2'"


def test_predictions_for_other_questions_are_counted_and_the_first_is_named(write):
    path = write({"annotations": ENTRIES})
    line = refusal({**PREDICTIONS, "9": "x", "8": "x"}, path)
    assert "predictions for questions that are not in" in line
    assert line.endswith("the first is '9'")


def test_annotations_of_one_question_twice_are_refused(write):
    path = write({"annotations": [*ENTRIES, ENTRIES[1], ENTRIES[1], ENTRIES[0]]})
    line = refusal(PREDICTIONS, path)
    assert line == f"{path}: duplicate question IDs: 3, the first is '2'"


@pytest.mark.parametrize("content", [[], {"annotations": []}])
def test_annotations_of_nothing_are_refused(write, content):
    assert "no questions to score" in refusal({}, write(content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"questions": []}, "must be the official file with 'annotations'"),
        ("3", "must be the official file"),
        ({"annotations": {}}, "annotations: {} must be a list"),
        ({"annotations": [7]}, "annotations: [0] is 7; it must be an object"),
        ({"annotations": [official(1, ["x"] * 9)]}, "[0].answers is [{'answer"),
        ({"annotations": [official(1, ["x"] * 11)]}, "must have a length of at most 10"),
        ({"annotations": [official(1, [*"123456789", 7])]}, "[0].answers[9].answer is 7"),
        (
            {"annotations": [official(True, ["x"] * 10)]},
            "[0].question_id: True must be an integer or a string",
        ),
        ({"annotations": [official(None, ["x"] * 10)]}, "[0].question_id: None must be an"),
        ([official(1, ["x"] * 9)], "[0].answers is [{'answer"),
        ([labeled(1, {"x": 1.5})], "[0].label.x is 1.5"),
        ([labeled(1, {"x": "1"})], "[0].label.x is '1'"),
        ([{"question_id": 1, "sent": "", "img_id": "x"}], "the key '[0].label' is missing"),
        ("[{", "not valid JSON"),
        (
            '{"a": 1}\n{"a": 2}\n',
            "not valid JSON: another value begins in line 2, as in JSON lines",
        ),
        ("", "the file is empty"),
        ('[{"question_id": 1, "question_id": 2}]', "duplicate key 'question_id'"),
        ('[{"question_id": NaN}]', "NaN is not a JSON number"),
        (r'["\ud800"]', "half of a surrogate pair"),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "Exceeds the limit"),
    ],
)
def test_annotations_of_another_kind_are_refused(write, content, reason):
    path = write(content)
    line = refusal({"1": "x"}, path)
    assert line.startswith(f"{path}: ")
    assert reason in line
    assert len(line) < 300


def test_label_of_a_test_split_is_missed(write):
    entry = labeled(1, {})
    del entry["label"]
    assert "the key '[0].label' is missing" in refusal({"1": "x"}, write([entry]))


def test_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    assert "No such file" in refusal({}, tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfa")
    assert "not UTF-8" in refusal({}, tmp_path / "bytes.json")
