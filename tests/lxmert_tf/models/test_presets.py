"""Preset directories: written whole or not at all, read back equal, refused in one line."""

import dataclasses
import json
import os
import shutil
import stat

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertConfig, LxmertPretrainer
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import _checkpoint as preset_checkpoint
from lxmert_tf.models.presets import weight_paths
from lxmert_tf.models.soft_answers import SoftAnswerLoss
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from lxmert_tf.models.task import build_optimizer
from tests.lxmert_tf.samples import MODEL_CLASSES, config, model_inputs, named_outputs, one_line

# Pieces and answers that Unicode would split, that look like numbers, that are in any script.
PIECES = [*SPECIAL_PIECES, "\u2028", "\x85", "\x1c", "##s", "1.0", "null", "ü", "漢", "#", " x"]
PIECES += [f"piece{i}" for i in range(50 - len(PIECES))]
ANSWERS = ["yes", "no", "", "two words", "\u2029", "3", "'quoted'", "café"]
ANSWERS += [f"answer {i}" for i in range(17 - len(ANSWERS))]
EXTRACTOR = {"name": "grid", "cells": 3, "max_components": 2, "crop_size": 4}
SIZES = config(language_layers=1, cross_layers=1)


def make(cls, **changes):
    return cls(**{"config": SIZES, "vocabulary": PIECES, "answers": ANSWERS, "extractor": EXTRACTOR,
                  **changes})  # fmt: skip


@pytest.fixture(scope="module", params=MODEL_CLASSES, ids=lambda cls: cls.__name__)
def model(request):
    return make(request.param)


@pytest.fixture(scope="module")
def classifier():
    return make(LxmertAnswerClassifier)


def assert_same_weights(one, other):
    # By name, because Keras lists what is not trained last.
    ours, theirs = ({v.name: v for v in m.weights} for m in (one, other))
    assert set(ours) == set(theirs) != set()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_a_model_comes_back_with_words_answers_and_extractor(model, tmp_path):
    model.save_preset(tmp_path / "deep" / "preset")
    twin = type(model).from_preset(tmp_path / "deep" / "preset")
    assert twin.config == SIZES
    assert twin.vocabulary == PIECES
    assert twin.answers == ANSWERS
    assert twin.extractor == EXTRACTOR
    assert_same_weights(twin, model)
    expected = named_outputs(model(model_inputs()))
    for name, value in named_outputs(twin(model_inputs())).items():
        np.testing.assert_array_equal(value, expected[name])


def test_a_preset_holds_the_files_of_the_contract(classifier, tmp_path):
    classifier.save_preset(tmp_path / "preset")
    files = {path.name for path in (tmp_path / "preset").iterdir()}
    assert files == {
        "answers.txt", "config.json", "preset.json", "vocab.txt",
        "weights.data-00000-of-00001", "weights.index",
    }  # fmt: skip
    assert LxmertConfig.from_file(tmp_path / "preset" / "config.json") == SIZES
    vocabulary = (tmp_path / "preset" / "vocab.txt").read_bytes().decode()
    assert vocabulary == "".join(f"{piece}\n" for piece in PIECES)
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / "preset" / "weights"))]
    prefix = "model/backbone/language_encoder/transformer_layers/0/self_attention"
    assert f"{prefix}/query_key_value/kernel/.ATTRIBUTES/VARIABLE_VALUE" in names


@pytest.mark.parametrize("cls", MODEL_CLASSES, ids=lambda cls: cls.__name__)
def test_a_preset_of_a_trained_model_holds_its_weights_alone(cls, tmp_path):
    model = make(cls)
    build_optimizer(optimizer := keras.optimizers.Adam(), model.trainable_variables)
    model.compile(optimizer, metrics=None)
    model.save_preset(tmp_path / "preset")
    names = {name for name, _ in tf.train.list_variables(str(tmp_path / "preset" / "weights"))}
    ending = "/.ATTRIBUTES/VARIABLE_VALUE"
    expected = {f"model/{path}{ending}" for path, _ in weight_paths(model)}
    assert len(expected) == len(model.weights)
    assert names == {*expected, "_CHECKPOINTABLE_OBJECT_GRAPH"}


@pytest.mark.slow
def test_an_optimizer_in_an_old_preset_is_ignored(classifier, tmp_path):
    classifier.save_preset(tmp_path / "preset")
    # As `Checkpoint(model=model)` of a compiled model wrote it.
    optimizer = keras.optimizers.Adam(0.5)
    build_optimizer(optimizer, classifier.trainable_variables)
    optimizer.iterations.assign(2368)
    checkpoint = preset_checkpoint(classifier, "model")
    checkpoint.model.optimizer = optimizer
    checkpoint.write(str(tmp_path / "preset" / "weights"))

    model = LxmertAnswerClassifier.from_preset(tmp_path / "preset")
    assert_same_weights(model, classifier)
    model.compile(keras.optimizers.Adam(0.1), SoftAnswerLoss())
    history = model.fit(model_inputs(), np.ones([3, 17]), epochs=2, verbose=0).history
    assert int(model.optimizer.iterations) == 2
    assert np.isfinite(history["loss"]).all()
    moved = [np.abs(a - b).max() > 0 for a, b in zip(model.get_weights(), classifier.get_weights())]
    assert sum(moved) >= len(model.trainable_weights) - 1


def test_a_preset_is_readable_by_others(classifier, tmp_path):
    before = os.umask(0o022)
    try:
        classifier.save_preset(tmp_path / "preset")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "preset").stat().st_mode) == 0o755


def test_a_model_without_words_and_answers_comes_back_without(tmp_path):
    model = LxmertBackbone(SIZES)
    model.save_preset(tmp_path / "preset")
    assert not (tmp_path / "preset" / "vocab.txt").exists()
    twin = LxmertBackbone.from_preset(tmp_path / "preset")
    assert (twin.vocabulary, twin.answers, twin.extractor) == (None, None, None)


def test_arguments_override_the_preset(classifier, tmp_path):
    classifier.save_preset(tmp_path / "preset")
    twin = LxmertAnswerClassifier.from_preset(
        tmp_path / "preset", dtype="mixed_bfloat16", output_attentions=True
    )
    assert twin.compute_dtype == "bfloat16"
    assert "attentions" in twin(model_inputs())
    assert_same_weights(twin, classifier)


@pytest.mark.parametrize(
    ("saved", "loaded"),
    [
        (LxmertAnswerClassifier, LxmertBackbone),
        (LxmertPretrainer, LxmertBackbone),
        (LxmertPretrainer, LxmertAnswerClassifier),
        (LxmertBackbone, LxmertAnswerClassifier),
        (LxmertBackbone, LxmertPretrainer),
    ],
    ids=lambda cls: cls.__name__,
)
def test_a_preset_of_another_class_gives_its_backbone(saved, loaded, tmp_path):
    source = make(saved)
    source.save_preset(tmp_path / "preset")
    target = loaded.from_preset(tmp_path / "preset")
    one, other = (getattr(m, "backbone", m) for m in (source, target))
    assert_same_weights(one, other)
    # A classifier's backbone computes the first token alone, in sums of another order.
    expected = one(model_inputs())["pooled_output"]
    pooled = other(model_inputs())["pooled_output"]
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-5)


def test_saving_again_replaces_the_preset(tmp_path):
    make(LxmertAnswerClassifier).save_preset(tmp_path / "preset")
    (tmp_path / "preset" / "of-the-old-one").touch()
    second = make(LxmertBackbone, answers=None)
    second.save_preset(tmp_path / "preset")
    assert_same_weights(LxmertBackbone.from_preset(tmp_path / "preset"), second)
    assert not (tmp_path / "preset" / "answers.txt").exists()
    assert not (tmp_path / "preset" / "of-the-old-one").exists()
    assert os.listdir(tmp_path) == ["preset"]


def test_an_empty_folder_may_become_a_preset(classifier, tmp_path):
    (tmp_path / "preset").mkdir()
    classifier.save_preset(tmp_path / "preset")
    assert (tmp_path / "preset" / "preset.json").is_file()


def test_other_directories_are_never_overwritten(classifier, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    for name in ("thesis", "file"):
        with pytest.raises(InputError) as raised:
            classifier.save_preset(tmp_path / name)
        assert "already exists" in one_line(raised)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert sorted(os.listdir(tmp_path)) == ["file", "thesis"]


@pytest.mark.parametrize("older", [False, True], ids=["new", "over an older one"])
def test_a_failed_write_leaves_the_old_preset(classifier, tmp_path, monkeypatch, older):
    if older:
        classifier.save_preset(tmp_path / "preset")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    # The last part to be written fails, as on a full disk.
    def fail(self, prefix):
        open(prefix + ".index", "w").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.train.Checkpoint, "write", fail)
    with pytest.raises(OSError, match="No space left"):
        make(LxmertBackbone).save_preset(tmp_path / "preset")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert os.listdir(tmp_path) == (["preset"] if older else [])


def damage(directory, name, content):
    path = directory / name
    if content is None:
        for part in directory.glob(f"{name}*"):
            part.unlink()
    elif callable(content):
        path.write_bytes(content(path.read_bytes()))
    else:
        path.write_text(content)


WEIGHTS = "weights.data-00000-of-00001"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "config.json: No such file or directory"),
        ("config.json", "{", "config.json line 1: not valid YAML"),
        ("config.json", '{"hidden_sise": 16}', "unknown key 'hidden_sise'; did you mean 'hidden_"),
        ("config.json", lambda b: b.replace(b'"hidden_size": 16', b'"hidden_size": 32'), "weights"),
        ("config.json", lambda b: b.replace(b'"vocab_size": 50', b'"vocab_size": 51'),
         "vocabulary has 50 entries but config.vocab_size is 51"),
        ("config.json", lambda b: b.replace(b'"cross_layers": 1', b'"cross_layers": 2'),
         "the weights cannot be loaded"),
        ("preset.json", None, "preset.json: No such file or directory"),
        ("preset.json", "{}ab\x00", "preset.json line 1: not UTF-8 text (a NUL character)"),
        ("preset.json", "[]", "must hold a mapping of keys to values"),
        ("preset.json", '{"format": 99, "model": "LxmertBackbone"}', "format is 99; this version"),
        ("preset.json", '{"format": 1}', "the key 'model' must name the model's class"),
        ("preset.json", lambda b: b[:20], "preset.json"),
        ("vocab.txt", lambda b: b[: b[:-1].rindex(b"\n") + 1], "vocabulary has 49 entries but"),
        ("vocab.txt", lambda b: b + b"more\n", "vocabulary has 51 entries but"),
        ("vocab.txt", lambda b: b"\xff" + b, "vocab.txt line 1: not UTF-8 text"),
        ("answers.txt", lambda b: b[: b[:-1].rindex(b"\n") + 1], "answers has 16 entries but"),
        ("answers.txt", "", "answers has 1 entries but config.num_answers is 17"),
        ("weights", None, "the weights cannot be loaded"),
        ("weights.index", lambda b: b[: len(b) // 2], "the weights cannot be loaded"),
        ("weights.index", lambda b: b"", "the weights cannot be loaded"),
        (WEIGHTS, lambda b: b[: len(b) // 2], "the weights cannot be loaded"),
        (WEIGHTS, lambda b: b"", "the weights cannot be loaded"),
        (WEIGHTS, None, "the weights cannot be loaded"),
    ],
)  # fmt: skip
def test_a_preset_with_a_missing_or_damaged_part_is_refused(
    classifier, tmp_path, name, content, message
):
    classifier.save_preset(tmp_path / "preset")
    damage(tmp_path / "preset", name, content)
    with pytest.raises(InputError) as raised:
        LxmertAnswerClassifier.from_preset(tmp_path / "preset")
    assert str(tmp_path / "preset") in one_line(raised)
    assert message in one_line(raised)


def test_flipped_bits_in_the_weights_are_noticed(classifier, tmp_path):
    classifier.save_preset(tmp_path / "preset")

    def flip(data):
        data = bytearray(data)
        data[len(data) // 2] ^= 0x40
        return bytes(data)

    damage(tmp_path / "preset", WEIGHTS, flip)
    with pytest.raises(InputError) as raised:
        LxmertAnswerClassifier.from_preset(tmp_path / "preset")
    assert "the weights cannot be loaded" in one_line(raised)


def test_a_directory_that_is_missing_or_not_a_preset_is_named(tmp_path):
    with pytest.raises(InputError, match="preset not found: "):
        LxmertBackbone.from_preset(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="preset not found: "):
        LxmertBackbone.from_preset(tmp_path / "file")
    with pytest.raises(InputError, match=r"preset.json: No such file"):
        LxmertBackbone.from_preset(tmp_path)


def test_a_preset_may_be_moved(classifier, tmp_path):
    classifier.save_preset(tmp_path / "preset")
    shutil.move(tmp_path / "preset", tmp_path / "elsewhere")
    assert_same_weights(LxmertAnswerClassifier.from_preset(tmp_path / "elsewhere"), classifier)


@pytest.mark.parametrize("broken", ["two\nlines", "two\rlines", "a\0b"])
def test_an_entry_that_a_preset_could_not_keep_is_refused_at_once(broken):
    for name, lines in (("answers", [*ANSWERS[1:], broken]), ("vocabulary", [*PIECES[1:], broken])):
        with pytest.raises(InputError) as raised:
            make(LxmertAnswerClassifier, **{name: lines})
        assert f"{name} has the entry {broken!r}" in one_line(raised)


def test_preset_json_is_plain(classifier, tmp_path):
    classifier.save_preset(tmp_path / "preset")
    assert json.loads((tmp_path / "preset" / "preset.json").read_text()) == {
        "format": 1,
        "model": "LxmertAnswerClassifier",
        "extractor": EXTRACTOR,
    }


@pytest.mark.parametrize(
    ("cls", "changes", "head"),
    [
        (LxmertAnswerClassifier, {"num_answers": 5}, "answer_head/answers"),
        (LxmertPretrainer, {"num_answers": 18}, "answer_head/answers"),
        (LxmertPretrainer, {"num_objects": 4}, "region_head/objects"),
        (LxmertPretrainer, {"num_attributes": 4}, "region_head/attributes"),
    ],
)
def test_another_number_of_outputs_keeps_all_but_their_layer(cls, changes, head, tmp_path, caplog):
    source = make(cls)
    source.save_preset(tmp_path / "preset")
    sizes = dataclasses.replace(SIZES, **changes)
    model = cls.from_preset(tmp_path / "preset", config=sizes)
    assert model.config == sizes
    assert model.vocabulary == PIECES
    assert model.answers == (ANSWERS if model.config.num_answers == 17 else None)
    ours, theirs = dict(weight_paths(model)), dict(weight_paths(source))
    fresh = {path for path in ours if ours[path].shape != theirs[path].shape}
    assert fresh == {f"{head}/kernel", f"{head}/bias"}
    for path in set(ours) - fresh:
        np.testing.assert_array_equal(ours[path], theirs[path], err_msg=path)
    [(field, count)] = changes.items()
    name, before = field.removeprefix("num_"), getattr(SIZES, field)
    assert caplog.messages == [
        f"{tmp_path / 'preset'}: the model has {count} {name} and the preset {before}; the last "
        f"layer of {head.partition('/')[0]} starts fresh"
    ]


def test_another_number_of_answers_may_come_with_the_answers(classifier, tmp_path, caplog):
    classifier.save_preset(tmp_path / "preset")
    sizes = dataclasses.replace(SIZES, num_answers=2).to_dict()
    model = LxmertAnswerClassifier.from_preset(
        tmp_path / "preset", config=sizes, answers=["yes", "no"]
    )
    assert model.answers == ["yes", "no"]
    assert len(caplog.messages) == 1
    # The heads of another class start fresh in any case.
    caplog.clear()
    model = LxmertPretrainer.from_preset(tmp_path / "preset", config=sizes)
    assert (model.config.num_answers, model.answers, caplog.messages) == (2, None, [])
