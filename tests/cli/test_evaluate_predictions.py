"""`lxmert evaluate --predictions`: the official scores of a submission file."""

import json
import subprocess
import sys

import pytest

TEN = [{"answer": text, "answer_id": n} for n, text in enumerate(["red"] * 2 + [*"abcdefgh"])]
ANNOTATIONS = {
    "annotations": [
        # Two people of ten say red: 0.6.
        {"question_id": 1, "question_type": "what", "answer_type": "other", "answers": TEN},
        {"question_id": 2, "question_type": "[b]", "answer_type": "other", "answers": TEN},
    ]
}
PREDICTIONS = [{"question_id": 1, "answer": "Red."}, {"question_id": 2, "answer": "blue"}]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "answers.json").write_text(json.dumps(ANNOTATIONS))
    (tmp_path / "mine.json").write_text(json.dumps(PREDICTIONS))
    return "evaluate", "--predictions", "mine.json", "--annotations", "answers.json"


def test_scores_are_printed_and_written(lxmert, files, tmp_path):
    outcome = lxmert(*files, "--task", "vqa", "--json", "scores.json")
    assert (outcome.status, outcome.stderr) == (0, "")
    lines = [line.replace("│", " ").split() for line in outcome.stdout.splitlines()]
    assert ["accuracy", "2", "30.00%"] in lines
    assert ["what", "1", "60.00%"] in lines
    assert ["[b]", "1", "0.00%"] in lines
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["task"] == "vqa"
    [(name, accuracy)] = written["scores"]["overall"].items()
    assert name == "accuracy"
    assert accuracy == {"value": pytest.approx(30), "rounded": 30.0, "count": 2, "unit": "%"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "answers.json",
        "mine.json",
        "scores.json",
    ]


def test_gqa_and_nlvr2_are_scored_too(lxmert, tmp_path):
    question = {
        "answer": "yes",
        "isBalanced": True,
        "types": {"structural": "verify", "semantic": "rel", "detailed": "x"},
        "groups": {"global": "truth"},
        "entailed": [],
    }
    (tmp_path / "g.json").write_text(json.dumps({"1": question}))
    (tmp_path / "c.json").write_text(json.dumps({"1": {"valid": ["yes"], "plausible": []}}))
    (tmp_path / "p.json").write_text(json.dumps([{"questionId": "1", "prediction": "yes"}]))
    outcome = lxmert(
        *("evaluate", "--task", "gqa", "--predictions", "p.json"),
        *("--annotations", "g.json", "--choices", "c.json"),
    )
    assert outcome.status == 0
    lines = [line.replace("│", " ").split() for line in outcome.stdout.splitlines()]
    assert ["validity", "1", "100.00%"] in lines
    assert ["plausibility", "1", "0.00%"] in lines
    assert ["distribution", "(lower", "is", "better)", "1", "0.00"] in lines

    (tmp_path / "n.json").write_text('{"identifier": "dev-1-0-0", "label": "True"}\n')
    (tmp_path / "p.csv").write_text("dev-1-0-0,True\n")
    outcome = lxmert(
        *("evaluate", "--task", "nlvr2", "--predictions", "p.csv", "--annotations", "n.json")
    )
    assert outcome.status == 0
    lines = [line.replace("│", " ").split() for line in outcome.stdout.splitlines()]
    assert ["consistency", "1", "100.00%"] in lines


def test_scoring_does_not_wait_for_tensorflow(files, tmp_path):
    code = "import sys; from lxmert_tf.cli import main as cli\nassert cli.main(sys.argv[1:]) == 0\n"
    code += "print([m for m in ('tensorflow', 'tfx', 'apache_beam') if m in sys.modules])"
    argv = [sys.executable, "-c", code, *files, "--task", "vqa"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"


def test_annotations_that_lack_a_question_are_refused(refused, files, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(PREDICTIONS[:1]))
    line = refused(*files, "--task", "vqa", "--json", "scores.json")
    assert "questions of answers.json without a prediction: 1 of 2, the first is '2'" in line


def test_submission_of_another_task_is_refused(refused, files):
    assert "must be like 'dev-850-0-0,True'" in refused(*files, "--task", "nlvr2")
    assert "'[0].questionId' is missing" in refused(*files, "--task", "gqa")


def test_json_in_a_folder_that_is_not_there_is_refused(refused, files):
    line = refused(*files, "--task", "vqa", "--json", "none/scores.json")
    assert "none/scores.json: No such file or directory" in line


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "give --model PRESET and --examples GLOB..., or --predictions FILE"),
        (["--model", "m"], "give --model PRESET and --examples GLOB..., or --predictions FILE"),
        (["--predictions", "p"], "--predictions requires --task and --annotations FILE"),
        (["--predictions", "p", "--task", "vqa"], "--task and --annotations FILE"),
        (["--predictions", "p", "--model", "m"], "--predictions cannot be combined with"),
        (["--predictions", "p", "--examples", "e"], "--predictions cannot be combined with"),
        (["--model", "m", "--examples", "e", "--json", "j"], "--json requires --task and"),
        (
            ["--model", "m", "--examples", "e", "--annotations", "a"],
            "--task and --annotations FILE",
        ),
        (["--task", "vqa"], "--task and --annotations FILE require each other"),
    ],
)
def test_incompatible_options_are_refused(refused, argv, reason):
    assert reason in refused("evaluate", *argv)


def test_choices_of_a_task_that_has_none_are_refused(refused, files):
    line = refused(*files, "--task", "vqa", "--choices", "c.json")
    assert "c.json: a choices file is for GQA, not for vqa" in line


def test_an_unknown_task_gets_a_list_of_tasks(lxmert, files):
    outcome = lxmert(*files, "--task", "okvqa")
    assert outcome.status == 2
    # Whether they are in quotes depends on Python's version.
    assert "vqa, gqa, nlvr, nlvr2" in outcome.stderr.replace("'", "")
