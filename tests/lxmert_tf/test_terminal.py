"""What is printed of users' data: as it is, on any terminal."""

import json
import os
import subprocess
import sys

import pytest

from lxmert_tf.evaluation.evaluate import print_accuracy
from lxmert_tf.evaluation.score_report import Score, ScoreReport
from lxmert_tf.terminal import make_console
from lxmert_tf.training.ablation import print_ablation

# Rich takes them for the end of a style, a style, and a picture.
NAMES = ("what [/b]", "[red]is", ":cat:")


@pytest.mark.parametrize(
    "show",
    [
        lambda name: print_accuracy({name: (0.5, 2)}),
        lambda name: ScoreReport("vqa", {name: (Score(name, 50.0, 2),)}).print(),
        lambda name: print_ablation({name: (0.5, 2)}),
        lambda name: make_console().print(f"{name}: no run to resume"),
    ],
    ids=["accuracy", "score report", "ablation", "line"],
)
@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_data_are_printed_as_they_are(capsys, show, name):
    show(name)
    assert name in capsys.readouterr().out


def lxmert(*arguments, **environment) -> subprocess.CompletedProcess:
    code = "import sys; from lxmert_tf.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_another_encoding(tmp_path, encoding):
    annotations, predictions = tmp_path / "annotations.json", tmp_path / "predictions.json"
    entry = {"question_id": 1, "label": {"yes": 1.0}, "question_type": "où ☂"}
    annotations.write_text(json.dumps([entry]))
    predictions.write_text(json.dumps([{"question_id": 1, "answer": "yes"}]))
    options = ("--task", "vqa", "--annotations", annotations, "--predictions", predictions)
    done = lxmert("evaluate", *options, PYTHONIOENCODING=encoding, LC_ALL="C")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "où ☂".encode(encoding, "backslashreplace") in done.stdout


def test_an_argument_that_is_no_text_is_refused_in_one_line():
    done = lxmert("ask", "--image", b"caf\xe9.png", LC_ALL="C.UTF-8")
    assert done.returncode == 2
    line = b"lxmert ask: the argument 'caf\\udce9.png' is not valid UTF-8 text\n"
    assert done.stderr == line
