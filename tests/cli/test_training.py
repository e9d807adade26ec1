"""`lxmert pretrain`, `finetune`, `predict`, `evaluate` and `ablate`, one after the other."""

import dataclasses
import itertools
import json
import re

import pytest
import tensorflow as tf

from lxmert_tf.data import schema
from lxmert_tf.data.batches import find_records, read_records
from lxmert_tf.data.scene import Scene, Sentence

MODEL = """
hidden_size: 8
num_attention_heads: 2
intermediate_size: 16
language_layers: 1
cross_layers: 1
relationship_layers: 1
num_objects: 5
num_attributes: 12
max_position_embeddings: 32
"""
TRAINING = """
vocabulary_size: 120
max_regions: 8
batch_size: 16
peak_learning_rate: 1.0e-3
"""


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """Small models and short runs."""
    folder = tmp_path_factory.mktemp("configs")
    texts = {
        "model": MODEL,
        "pretraining": f"{TRAINING}stages: [{{epochs: 1}}]\n",
        "answers": f"{TRAINING}epochs: 1\n",
        "statements": f"{TRAINING}epochs: 1\ntask: statements\n",
        "ablation": 'variants: {no pre-training: null, no QA: ["loss_weights={answers: 0}"]}\n',
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def pretrained(shell, configs, tiny, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "pretrained"
    outcome = shell.run(
        [
            *("pretrain", "--config", configs / "pretraining.yaml", "--train", tiny.grouped),
            *("--model-config", configs / "model.yaml", "--output", output),
        ],
        output.parent,
    )
    assert (outcome.status, outcome.stderr) == (0, ""), outcome
    assert re.search(r"^epoch 1/1 .* loss .* masked_lm [\d.]+% ", outcome.stdout, re.MULTILINE)
    return output / "preset"


@pytest.mark.slow
def test_from_pre_training_to_the_official_score(lxmert, configs, tiny, pretrained, tmp_path):
    outcome = lxmert(
        *("finetune", "--config", configs / "answers.yaml", "--init-from", pretrained),
        *("--train", tiny.grouped, "--validation", tiny.flat, "--output", "run"),
    )
    assert outcome.status == 0, outcome
    answers = (pretrained / "answers.txt").read_text().splitlines()
    assert f"the preset knows {len(answers)} of {len(answers)} answers" in outcome.stdout
    assert (tmp_path / "run/preset/vocab.txt").read_text() == (pretrained / "vocab.txt").read_text()
    assert json.loads((tmp_path / "run/preset/preset.json").read_text())["extractor"]

    arguments = ("--model", "run/preset", "--examples", tiny.grouped, "--task", "gqa")
    outcome = lxmert("predict", *arguments, "--output", "answers.json")
    assert outcome.status == 0, outcome
    scenes = [schema.decode_scene(r.numpy()) for r in read_records(find_records(tiny.grouped))]
    sentences = [sentence for scene in scenes for sentence in scene.sentences]
    predicted = json.loads((tmp_path / "answers.json").read_text())
    assert [answer["questionId"] for answer in predicted] == [s.id for s in sentences]

    labels = [{"question_id": s.id, "label": dict(s.answers)} for s in sentences]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    scoring = ("--task", "gqa", "--annotations", "labels.json")
    of_file = lxmert("evaluate", "--predictions", "answers.json", *scoring)
    of_model = lxmert("evaluate", *arguments, "--annotations", "labels.json")
    right = sum(
        answer["prediction"] == sentence.answers[0][0]
        for answer, sentence in zip(predicted, sentences)
    )
    assert f"{100 * right / len(sentences):.2f}" in of_file.stdout
    assert of_model == of_file


@pytest.mark.e2e
def test_a_finished_run_is_resumed_without_another_step(lxmert, configs, tiny, pretrained):
    output = pretrained.parent
    before = (output / "log.jsonl").read_text()
    arguments = (
        *("pretrain", "--config", configs / "pretraining.yaml", "--train", tiny.grouped),
        *("--model-config", configs / "model.yaml", "--output", output),
    )
    assert lxmert(*arguments, "--resume").status == 0
    assert (output / "log.jsonl").read_text() == before
    assert "continue it with --resume" in lxmert(*arguments).stderr


@pytest.mark.slow
def test_statements_about_two_images(lxmert, configs, tiny, tmp_path):
    scenes = [schema.decode_scene(r.numpy()) for r in read_records(find_records(tiny.grouped))]
    pairs = [one.images + other.images for one, other in itertools.pairwise(scenes)]
    with tf.io.TFRecordWriter(str(tmp_path / "pairs.tfrecord")) as writer:
        for number, images in enumerate(pairs):
            same = len(images[0].regions) == len(images[1].regions)
            sentence = Sentence(
                f"dev-{number}-0-0", "they have as many figures", answers=((str(same), 1.0),)
            )
            images = (images[0], dataclasses.replace(images[1], id=f"{images[1].id}-right"))
            writer.write(schema.encode_scene(Scene(images, (sentence,))))
    outcome = lxmert(
        *("finetune", "--config", configs / "statements.yaml", "--train", "pairs.tfrecord"),
        *("--model-config", configs / "model.yaml", "--output", "run"),
    )
    assert outcome.status == 0, outcome
    arguments = ("--model", "run/preset", "--examples", "pairs.tfrecord", "--task", "nlvr2")
    assert lxmert("predict", *arguments, "--output", "answers.csv").status == 0
    lines = (tmp_path / "answers.csv").read_text().splitlines()
    assert len(lines) == len(pairs)
    assert all(re.fullmatch(r"dev-\d+-0-0,(True|False)", line) for line in lines)


@pytest.mark.slow
def test_an_ablation_prints_a_row_per_variant_and_is_resumed(lxmert, configs, tiny, tmp_path):
    arguments = (
        *("ablate", "--config", configs / "ablation.yaml", "--train", tiny.grouped),
        *("--pretraining", configs / "pretraining.yaml", "--task", configs / "answers.yaml"),
        *("--model-config", configs / "model.yaml", "--validation", tiny.flat, "--output", "set"),
        *("--set", "task.weight_decay=0.02"),
    )
    first = lxmert(*arguments)
    assert first.status == 0, first
    rows = re.findall(r"│ (no \S+) +│ +\d+ │ +([\d.]+%) │", first.stdout)
    assert [variant for variant, _ in rows] == ["no pre-training", "no QA"]
    settings = json.loads((tmp_path / "set/no-qa/pretraining/run.json").read_text())
    assert settings["pretraining"]["loss_weights"] == {"answers": 0.0}
    assert settings["pretraining"]["weight_decay"] == 0.01
    assert not (tmp_path / "set/no-pre-training/pretraining").exists()
    settings = json.loads((tmp_path / "set/no-qa/finetuning/run.json").read_text())
    assert settings["finetuning"]["weight_decay"] == 0.02
    again = lxmert(*arguments)
    assert re.findall(r"│ (no \S+) +│ +\d+ │ +([\d.]+%) │", again.stdout) == rows
    assert "epoch" not in again.stdout
    other = lxmert(*arguments, "--set", "weight_decay=0.5")
    assert other.status == 2 and "weight_decay was 0.01 and is 0.5 now" in other.stderr


def test_an_ablation_checks_the_presets_before_it_trains(lxmert, configs, tiny, tmp_path):
    (tmp_path / "from_bert.yaml").write_text(
        'variants: {no pre-training: null, from BERT: ["init_from=bert"]}\n'
    )
    outcome = lxmert(
        *("ablate", "--config", "from_bert.yaml", "--train", tiny.grouped),
        *("--pretraining", configs / "pretraining.yaml", "--task", configs / "answers.yaml"),
        *("--model-config", configs / "model.yaml", "--validation", tiny.flat, "--output", "set"),
    )
    message = "lxmert ablate: preset not found: bert\n"
    assert (outcome.status, outcome.stdout, outcome.stderr) == (2, "", message)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "loss_weights.objects.x=3",
            "--set loss_weights.objects.x=3: loss_weights.objects is {'x': 3}; it must be a number",
        ),
        ("stages.0.epochs.x=3", "--set stages.0.epochs.x=3: there is no 'x' to change"),
        ("a.b=3", "--set a.b=3: unknown key 'a'; it must be one of init_from"),
        ("epochs=" + "[" * 3000, "the value is not valid YAML"),
        ("epochs=!!bool x", "--set epochs=!!bool x: the value is not valid YAML"),
        ("batch_sise=8", "--set batch_sise=8: unknown key 'batch_sise'; did you mean 'batch_size'"),
        ("batch_size=many", "--set batch_size=many: batch_size is 'many'"),
        ("batch_size", "--set batch_size: must be KEY=VALUE"),
        ("stages.1.epochs=2", "there is no '1' to change"),
        (
            "stages.0.epochs=0",
            "--set stages.0.epochs=0: stages[0].epochs is 0; it must be at least 1",
        ),
        ("loss_weights.object=1", "loss_weights.object is 'object'; it must be 'masked_lm'"),
        ("masking.words=2", "masking.words is 2; it must be at most 1"),
        ("vocabulary=[", "the value is not valid YAML"),
        ("stages=[]", "pretraining.yaml with --set stages=[]: stages is empty; it must have at"),
        ("init_from=nowhere", "preset not found: nowhere"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused_by_name(
    override, message, refused, configs, tiny
):
    line = refused(
        *("pretrain", "--config", configs / "pretraining.yaml", "--train", tiny.grouped),
        *("--output", "run", "--set", override),
    )
    assert message in line


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_pretrained_preset_answers_no_questions(refused, pretrained, tiny, command):
    arguments = () if command == "evaluate" else ("--task", "vqa", "--output", "answers.json")
    line = refused(command, "--model", pretrained, "--examples", tiny.flat, *arguments)
    assert line == (
        f"lxmert {command}: {pretrained}: a preset of LxmertPretrainer, which answers no "
        f"questions; fine-tune it first: lxmert finetune --init-from {pretrained}"
    )


def test_a_vocabulary_without_its_special_pieces_is_refused(refused, configs, tiny, tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nwhat\n")
    line = refused(
        *("finetune", "--config", configs / "answers.yaml", "--set", "vocabulary=vocab.txt"),
        *("--train", tiny.grouped, "--model-config", configs / "model.yaml", "--output", "run"),
    )
    assert line.endswith(": vocab.txt: the vocabulary has [CLS] 0 times; it must have it once")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("masking.words=1.5", "masking.words is 1.5; it must be at most 1"),
        ("masking.erased=0.95", "masking: erased + replaced is 1.05; at most 1"),
    ],
)
def test_masking_rates_that_cannot_be_are_refused(refused, configs, tiny, change, message):
    line = refused(
        *("pretrain", "--config", configs / "pretraining.yaml", "--set", change),
        *("--train", tiny.grouped, "--output", "run"),
    )
    where = f"--set {change}" if "1.5" in change else f"pretraining.yaml with --set {change}"
    assert line.endswith(f"{where}: {message}")


def test_a_value_of_the_file_is_not_blamed_on_an_override(refused, tiny, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("batch_size: many\n")
    line = refused(
        *("pretrain", "--config", path, "--train", tiny.grouped),
        *("--output", "run", "--set", "seed=3"),
    )
    assert f"{path}: batch_size is 'many'" in line


@pytest.mark.parametrize(
    ("output", "message"),
    [("none/answers.json", "directory not found: none"), (".", "is a directory; name a file")],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_model_is_read(
    refused, tmp_path, output, message
):
    arguments = ["predict", "--model", "none", "--examples", "none", "--task", "vqa"]
    assert message in refused(*arguments, "--output", output)
