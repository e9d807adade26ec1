"""`lxmert benchmark`: its measurements of a small model, and options that it refuses."""

import json

import pytest

from lxmert_tf.benchmarking import flops
from lxmert_tf.benchmarking.settings import MAX_LENGTH, model_sizes

MINI = ("--model", "mini", "--batch-size", 2, "--steps", 1, "--json")


def _measured(lxmert, *options):
    outcome = lxmert("benchmark", *MINI, *options)
    assert (outcome.status, outcome.stderr) == (0, "")
    measured = json.loads(outcome.stdout)
    assert 0 < measured["examples_per_second"] <= measured["best_examples_per_second"] * (1 + 1e-9)
    assert measured["gflop_per_second"] == pytest.approx(
        measured["gflop_per_example"] * measured["examples_per_second"]
    )
    assert measured["share"] == pytest.approx(
        measured["gflop_per_second"] / measured["product_gflop_per_second"]
    )
    assert measured["peak_memory_mb"] > 50
    assert measured["machine"]["processors"] >= 1
    return measured


def test_answering(lxmert):
    measured = _measured(lxmert, "--task", "answer", "--lengths", "fixed20", "--plain")
    config = model_sizes("mini", "answer")
    shape = flops.BatchShape(examples=1, words=MAX_LENGTH, longest=MAX_LENGTH, regions=36)
    counted = (
        flops.encode_image_flops(config, 1, 36)
        + flops.encode_text_flops(config, shape)
        + flops.relate_pooled_flops(config, shape)
        + flops.answer_head_flops(config, 1)
    )
    assert measured["gflop_per_example"] == pytest.approx(counted.total() / 1e9)
    assert 0 < measured["latency_ms"]["p50"] <= measured["latency_ms"]["p99"]


@pytest.mark.slow
def test_questions_about_encoded_images(lxmert):
    options = ("--task", "answer", "--precision", "bfloat16")
    one = _measured(lxmert, *options)
    five = _measured(lxmert, *options, "--questions-per-image", 5)
    assert five["gflop_per_example"] < one["gflop_per_example"]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["finetune", "pretrain"])
def test_training(lxmert, task):
    measured = _measured(lxmert, "--task", task)
    assert measured["latency_ms"] == {}


def test_the_published_size_has_the_answers_of_the_task():
    answers = {task: model_sizes("base", task).num_answers for task in ("answer", "pretrain")}
    assert answers == {"answer": 3129, "pretrain": 9500}


def test_numbers_below_one_are_refused(lxmert):
    outcome = lxmert("benchmark", "--task", "answer", "--steps", 0)
    assert outcome.status == 2
    assert "argument --steps: '0' must be an integer of at least 1" in outcome.stderr


def test_training_on_encoded_images_is_refused(refused):
    line = refused("benchmark", "--task", "pretrain", "--questions-per-image", 5)
    assert "--questions-per-image requires --task answer" in line
