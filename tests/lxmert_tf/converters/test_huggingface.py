"""Directories of Hugging Face's LXMERT load as presets, in memory and to the bit."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertPretrainer
from lxmert_tf.cli.main import main
from lxmert_tf.converters.foreign_config import answers_from_huggingface
from lxmert_tf.converters.importing import import_weights
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.evaluate import load_answering_model
from lxmert_tf.models.answer_names import load_with_answers, load_with_numbered_answers
from lxmert_tf.models.presets import describe_preset, load_preset
from tests.lxmert_tf.converters.conftest import TINY
from tests.lxmert_tf.samples import one_line

MODELS = (LxmertBackbone, LxmertPretrainer, LxmertAnswerClassifier)
ANSWERS = [f"name {i}" for i in range(TINY.num_answers)]


def labels(answers) -> dict:
    return {"id2label": {str(i): answer for i, answer in enumerate(answers)}}


@pytest.fixture
def directory(checkpoint, tmp_path):
    """A function that copies the directory of a class, with more in its config.json."""

    def copy(cls, format="huggingface", **settings):
        target = tmp_path / "directory"
        shutil.copytree(checkpoint(cls, format), target)
        config = json.loads((target / "config.json").read_text())
        (target / "config.json").write_text(json.dumps({**config, **settings}))
        return target

    return copy


def assert_equal_weights(one, other):
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)


@pytest.mark.parametrize("cls", MODELS)
def test_a_directory_loads_as_a_model_of_its_class_and_stays_as_it_is(tiny_model, directory, cls):
    path = directory(cls)
    before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    model = load_preset(path)
    assert type(model) is cls and model.config == TINY
    assert (model.vocabulary, model.answers, model.extractor) == (None, None, None)
    assert_equal_weights(model, tiny_model(cls))
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == before


def test_the_weights_of_tensorflow_load_too(tiny_model, checkpoint):
    model = load_preset(checkpoint(LxmertPretrainer, "h5"))
    assert_equal_weights(model, tiny_model(LxmertPretrainer))


def test_another_class_gets_the_backbone(tiny_model, directory):
    path = directory(LxmertPretrainer)
    backbone = LxmertBackbone.from_preset(path)
    assert_equal_weights(backbone, tiny_model(LxmertPretrainer).backbone)
    classifier = LxmertAnswerClassifier.from_preset(path)
    assert_equal_weights(classifier.backbone, tiny_model(LxmertPretrainer).backbone)


def test_another_number_of_answers_gives_a_fresh_last_layer(tiny_model, directory, caplog):
    path = directory(LxmertAnswerClassifier, **labels(ANSWERS))
    more = dataclasses.replace(TINY, num_answers=TINY.num_answers + 1)
    model = LxmertAnswerClassifier.from_preset(path, config=more)
    original = tiny_model(LxmertAnswerClassifier)
    assert_equal_weights(model.backbone, original.backbone)
    assert_equal_weights(model.answer_head.transform, original.answer_head.transform)
    assert not model.answer_head.answers.bias.numpy().any()
    assert "the last layer of answer_head starts fresh" in caplog.text
    assert model.answers is None


@pytest.mark.parametrize(
    ("settings", "answers"),
    [
        ({}, None),
        (labels(ANSWERS), ANSWERS),
        # What transformers makes up.
        (labels(f"LABEL_{i}" for i in range(TINY.num_answers)), None),
        (labels(ANSWERS[:-1]), None),
        (labels([*ANSWERS, "more"]), None),
        (labels([*ANSWERS[:-1], 3]), None),
        ({"id2label": ANSWERS}, None),
    ],
)
def test_answers_are_the_labels_if_they_are_names(settings, answers):
    assert answers_from_huggingface(settings, TINY.num_answers) == answers


def test_labels_and_words_come_with_the_model(directory):
    path = directory(LxmertAnswerClassifier, **labels(ANSWERS))
    pieces = [f"piece {i}" for i in range(TINY.vocab_size)]
    (path / "vocab.txt").write_text("\n".join(pieces))
    for model in (load_preset(path), import_weights("huggingface", path)[0]):
        assert (model.vocabulary, model.answers) == (pieces, ANSWERS)
    named = import_weights("huggingface", path, answers=ANSWERS[::-1])[0]
    assert named.answers == load_preset(path, answers=ANSWERS[::-1]).answers == ANSWERS[::-1]
    # A model without an answer head has none.
    shutil.rmtree(path)
    assert describe_preset(directory(LxmertBackbone, **labels(ANSWERS))).answers is None


def test_answers_can_be_named_when_a_model_is_loaded(directory, caplog):
    path = directory(LxmertAnswerClassifier)
    assert load_answering_model(path, ANSWERS).answers == ANSWERS
    with pytest.raises(InputError) as raised:
        load_with_answers(path, ANSWERS[1:])
    assert f"{path}: answers has 2 entries but config.num_answers is 3" in one_line(raised)
    assert not caplog.text
    assert load_with_numbered_answers(path).answers == ["answer 0", "answer 1", "answer 2"]
    assert "name them with --answers FILE" in caplog.text
    # The preset that an import makes of it is no different.
    preset = path.parent / "preset"
    import_weights("huggingface", path)[0].save_preset(preset)
    assert load_with_numbered_answers(preset).answers == ["answer 0", "answer 1", "answer 2"]
    shutil.rmtree(path)
    with pytest.raises(InputError) as raised:
        load_with_answers(directory(LxmertPretrainer), ANSWERS)
    assert "the answers of LxmertAnswerClassifier, not of LxmertPretrainer" in one_line(raised)


@pytest.mark.parametrize("load", [load_with_answers, load_with_numbered_answers])
def test_answers_that_have_names_keep_them(directory, load):
    path = directory(LxmertAnswerClassifier, **labels(ANSWERS))
    assert load(path, ANSWERS).answers == ANSWERS
    with pytest.raises(InputError) as raised:
        load(path, ANSWERS[::-1])
    assert f"{path}: the answers have names already; --answers is for models" in one_line(raised)


def test_an_empty_list_is_not_taken_for_none(directory):
    path = directory(LxmertAnswerClassifier, **labels(ANSWERS))
    (path / "vocab.txt").write_text("piece\n" * TINY.vocab_size)
    for argument in ("vocabulary", "answers"):
        with pytest.raises(InputError) as raised:
            import_weights("huggingface", path, **{argument: []})
        assert f"{argument} has 0 entries" in one_line(raised)


def test_missing_tensors_are_refused_in_one_line(directory):
    path = directory(LxmertBackbone, l_layers=TINY.language_layers + 1)
    with pytest.raises(InputError) as raised:
        load_preset(path)
    assert "missing tensors: 16, of a wrong shape: 0, such as bert." in one_line(raised)
    assert "import-weights --source huggingface --partial` accepts this" in one_line(raised)
    path.joinpath("model.safetensors").unlink()
    with pytest.raises(InputError, match="has no weights"):
        load_preset(path)


def test_other_models_are_refused_in_one_line(directory, tmp_path, capsys):
    path = directory(LxmertBackbone, model_type="bert")
    with pytest.raises(InputError) as raised:
        load_preset(path)
    assert "model_type is 'bert'; expected 'lxmert'" in one_line(raised)
    source = ["import-weights", "--source", "lxrt", "--output", str(tmp_path / "preset")]
    assert main([*source, "--checkpoint", "hf://lab/model"]) == 2
    expected = "hf://lab/model: the source lxrt is a file such as NAME_LXRT.pth\n"
    assert capsys.readouterr().err == f"lxmert import-weights: {expected}"
