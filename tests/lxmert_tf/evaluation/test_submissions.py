"""The files for the challenge servers: to the byte, there and back, and what they cannot hold."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf.errors import InputError
from lxmert_tf.evaluation import TASKS
from lxmert_tf.evaluation.submissions import read_submission, write_submission


def test_files_have_the_format_of_the_servers(tmp_path):
    path = tmp_path / "file"
    write_submission("vqa", {"262148000": "yes", "0": 'a "café"'}, path)
    assert json.loads(path.read_text()) == [
        {"question_id": 262148000, "answer": "yes"},
        {"question_id": 0, "answer": 'a "café"'},
    ]
    write_submission("gqa", {"07333408": "pipe"}, path)
    assert json.loads(path.read_text()) == [{"questionId": "07333408", "prediction": "pipe"}]
    write_submission("nlvr2", {"dev-850-0-0": "True", "dev-850-1-0": "False"}, path)
    assert path.read_bytes() == b"dev-850-0-0,True\ndev-850-1-0,False\n"
    # Answers of a model of your own may be in lower case.
    write_submission("nlvr", {"dev-72-0-3": "True", "dev-72-0-4": "false"}, path)
    assert path.read_bytes() == b"dev-72-0-3.png,true\ndev-72-0-4.png,false\n"


IDS = {
    "vqa": st.integers(0, 10**18 - 1).map(str) | st.text(),
    "gqa": st.text(),
    "nlvr": st.from_regex(r"(train|dev|test)-[0-9]+-[0-3]-[0-5]", fullmatch=True),
    "nlvr2": st.from_regex(r"(train|dev|test1)-[0-9]+-[0-3]-[01]", fullmatch=True)
    | st.sampled_from(["kitchen 1", "déjà-vu", "7"]),
}
LABELS = st.sampled_from(["True", "False"])
ANSWERS = {"vqa": st.text(), "gqa": st.text(), "nlvr": LABELS, "nlvr2": LABELS}


@pytest.mark.parametrize("task", TASKS)
@given(data=st.data())
def test_written_files_are_read_back(tmp_path_factory, task, data):
    predictions = data.draw(st.dictionaries(IDS[task], ANSWERS[task]))
    path = tmp_path_factory.mktemp("submission") / "file"
    write_submission(task, predictions, path)
    read = read_submission(task, path)
    assert read == predictions
    assert list(read) == list(predictions)


def test_verdicts_are_read_in_any_case_as_the_official_script_does(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(b"dev-850-0-0,true\r\ndev-850-1-0,FALSE\r\n\r\n")
    assert read_submission("nlvr2", path) == {"dev-850-0-0": "True", "dev-850-1-0": "False"}
    path.write_bytes(b"dev-72-0-3.png,TRUE\r\ndev-72-0-4,false\r\n")
    assert read_submission("nlvr", path) == {"dev-72-0-3": "True", "dev-72-0-4": "False"}


@pytest.mark.parametrize(
    ("task", "predictions", "reason"),
    [
        ("nlvr", {"dev-72-0-3": "yes"}, "dev-72-0-3: the prediction is 'yes'"),
        ("nlvr", {"72-0-3": "True"}, "image '72-0-3': must be named like dev-72-0-3 for NLVR"),
        ("nlvr", {"dev-72-0-3.png": "True"}, "image 'dev-72-0-3.png': must be named like"),
        ("nlvr2", {"dev-850-0-0": "yes"}, "dev-850-0-0: the prediction is 'yes'"),
        ("nlvr2", {"dev,1": "True"}, "identifier 'dev,1'"),
        ("nlvr2", {"": "True"}, "identifier ''"),
        ("nlvr2", {" dev": "True"}, "identifier ' dev'"),
        ("nlvr2", {"dev\n1": "True"}, r"identifier 'dev\n1'"),
    ],
)
def test_invalid_predictions_are_named_and_the_old_file_stays(tmp_path, task, predictions, reason):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(InputError, match=re.escape(reason)):
        write_submission(task, predictions, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["none/file", "taken/file", "folder"])
def test_place_that_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=re.escape(str(tmp_path / place))):
        write_submission("gqa", {"1": "x"}, tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "taken"]


@pytest.mark.parametrize(
    ("task", "text", "reason"),
    [
        ("vqa", '[{"question_id": 7.5, "answer": "x"}]', "[0].question_id: 7.5 must be an integer"),
        ("vqa", '[{"question_id": 7, "answer": 2}]', "[0].answer is 2; it must be a string"),
        ("vqa", '[{"questionId": "7", "prediction": "x"}]', "'[0].question_id' is missing"),
        ("vqa", '{"7": "x"}', "must be a list"),
        (
            "vqa",
            '[{"question_id": 7, "answer": "x"}, {"question_id": 7, "answer": "y"}]',
            "duplicate question IDs: 1, the first is '7'",
        ),
        ("gqa", '[{"question_id": 7, "answer": "x"}]', "'[0].questionId' is missing"),
        ("gqa", '[{"questionId": null, "prediction": "x"}]', "[0].questionId: None must be"),
        ("gqa", "dev-850-0-0,True\n", "not valid JSON"),
        ("nlvr", "dev-72-0-3.png,yes\n", "line 1: 'dev-72-0-3.png,yes' must be like"),
        ("nlvr", "dev-72-0-3.png,true\ndev-72-0-3,true\n", "duplicate question IDs: 1"),
        ("nlvr2", "identifier,label\n", "line 1: 'identifier,label' must be like"),
        ("nlvr2", "dev-850-0-0,True\ndev-850-0-1\n", "line 2: 'dev-850-0-1' must be like"),
        ("nlvr2", "dev-850-0-0,True,False\n", "line 1"),
        ("nlvr2", ",True\n", "line 1"),
        ("nlvr2", "a,True\nb,True\na,False\n", "duplicate question IDs: 1"),
        ("nlvr2", '[{"questionId": "7"}]', "line 1"),
    ],
)
def test_damaged_or_wrong_files_are_refused(tmp_path, task, text, reason):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        read_submission(task, path)
    assert str(caught.value).startswith(str(path))


VALID = {
    "vqa": b'[{"question_id": 7, "answer": "x"}, {"question_id": 8, "answer": "y"}]',
    "gqa": b'[{"questionId": "7", "prediction": "x"}]',
    "nlvr": b"dev-72-0-3.png,true\ndev-72-0-4.png,false\n",
    "nlvr2": b"dev-850-0-0,True\ndev-850-1-0,False\n",
}


@pytest.mark.parametrize("task", TASKS)
@given(cut=st.integers(0, 80), inserted=st.binary(max_size=6), skip=st.integers(0, 5))
def test_any_damage_is_refused_or_read_as_texts(tmp_path_factory, task, cut, inserted, skip):
    path = tmp_path_factory.mktemp("damage") / "file"
    path.write_bytes(VALID[task][:cut] + inserted + VALID[task][cut + skip :])
    try:
        read = read_submission(task, path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(text, str) for pair in read.items() for text in pair)
