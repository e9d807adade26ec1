"""Whole pre-training runs on real pictures: resumed, in stages, from a preset, refused."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertConfig, LxmertPretrainer
from lxmert_tf.data.batches import find_records
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.training.config import PretrainingConfig, StageConfig
from lxmert_tf.training.pretrain import pretrain
from pipeline.ingest.config import IngestConfig, SplitConfig
from pipeline.ingest.job import run_ingest
from tests import golden

MODEL = LxmertConfig.from_dict({**golden.TINY, "num_objects": 5, "num_attributes": 12})
# Twenty pictures have about two hundred questions: seven steps an epoch.
CONFIG = PretrainingConfig(
    vocabulary_size=120,
    max_regions=8,
    batch_size=32,
    stages=(StageConfig(1, {"answers": 0.0}), StageConfig(1)),
    peak_learning_rate=1e-3,
    checkpoint_steps=4,
    checkpoints=10,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records") / "train"
    run_ingest(IngestConfig("easy_vqa", SplitConfig("train", limit=20)), folder)
    return find_records(folder)


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    """A run that was not interrupted."""
    directory = tmp_path_factory.mktemp("runs") / "finished"
    pretrain(files, files, CONFIG, MODEL, directory=directory)
    return directory


def steps_of(directory: pathlib.Path) -> list[int]:
    return sorted(int(p.stem.split("-")[1]) for p in directory.glob("checkpoints/*.index"))


def log_of(directory: pathlib.Path) -> list[dict]:
    lines = (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def weights_of(directory: pathlib.Path) -> list[np.ndarray]:
    return LxmertPretrainer.from_preset(directory / "preset").get_weights()


def as_if_killed_after(step: int, directory: pathlib.Path, copy: pathlib.Path) -> None:
    """A copy of a run whose later checkpoints are cut short, as by a full disk."""
    shutil.copytree(directory, copy)
    shutil.rmtree(copy / "preset")
    for later in (s for s in steps_of(copy) if s > step):
        for path in copy.glob(f"checkpoints/step-{later}.*"):
            path.write_bytes(path.read_bytes()[:100])


def test_a_run_leaves_checkpoints_a_log_and_a_model(finished, files):
    model = LxmertPretrainer.from_preset(finished / "preset")
    assert model.config.vocab_size == len(model.vocabulary)
    assert model.config.num_answers == len(model.answers) > 5
    *_, last = steps_of(finished)
    epoch = last // 2
    assert set(steps_of(finished)) == {*range(4, last + 1, 4), epoch, last}
    lines = log_of(finished)
    assert [(line["epoch"], line["step"]) for line in lines] == [(0, epoch), (1, last)]
    assert all("val_masked_lm_loss" in line and "learning_rate" in line for line in lines)
    assert all(line["gradient_norm"] > 0 for line in lines)
    # The first stage has no answers.
    assert "answers_loss" not in lines[0] and "answers_loss" in lines[1]
    assert list((finished / "tensorboard").iterdir())


@pytest.mark.parametrize(
    "where",
    [
        "in the first stage",
        pytest.param("between the stages", marks=pytest.mark.slow),
        pytest.param("in the second", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(where, finished, files, tmp_path, capfd):
    epoch = steps_of(finished)[-1] // 2
    step = {"in the first stage": 4, "between the stages": epoch, "in the second": 12}[where]
    as_if_killed_after(step, finished, tmp_path / "run")
    pretrain(files, files, CONFIG, MODEL, directory=tmp_path / "run", resume=True)
    told = capfd.readouterr().err
    assert "cannot be read" in told and f"goes on at step {step} " in told
    for ours, theirs in zip(weights_of(tmp_path / "run"), weights_of(finished), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # What was logged of the steps that are repeated stands there once.
    steps = [line["step"] for line in log_of(tmp_path / "run")]
    assert steps == sorted(set(steps)) == [line["step"] for line in log_of(finished)]


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(finished, files, tmp_path):
    before = weights_of(finished)
    with pytest.raises(InputError, match="--resume goes on with it"):
        pretrain(files, (), CONFIG, MODEL, directory=finished)
    other = dataclasses.replace(CONFIG, weight_decay=0.5)
    with pytest.raises(InputError, match=r"weight_decay was 0.01 and is 0.5 now"):
        pretrain(files, (), other, MODEL, directory=finished, resume=True)
    for ours, theirs in zip(weights_of(finished), before):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_none_of_whose_checkpoints_can_be_read_says_so(finished, files, tmp_path):
    as_if_killed_after(0, finished, tmp_path / "run")
    with pytest.raises(InputError, match="none of the"):
        pretrain(files, files, CONFIG, MODEL, directory=tmp_path / "run", resume=True)


def test_it_starts_from_a_presets_words_weights_and_answers(finished, files, tmp_path):
    # A rate that moves nothing that could be seen.
    still = dataclasses.replace(CONFIG, stages=(StageConfig(1),), peak_learning_rate=1e-30)
    start = LxmertPretrainer.from_preset(finished / "preset")
    again = pretrain(
        files, (), dataclasses.replace(still, init_from=str(finished / "preset")), MODEL
    )
    for ours, theirs in zip(again.get_weights(), start.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert (again.vocabulary, again.answers) == (start.vocabulary, start.answers)

    backbone = LxmertBackbone.from_preset(finished / "preset", answers=None)
    backbone.save_preset(tmp_path / "backbone")
    model = pretrain(
        files, (), dataclasses.replace(still, init_from=str(tmp_path / "backbone")), None
    )
    for ours, theirs in zip(model.backbone.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert model.answers == start.answers


def test_a_preset_that_does_not_fit_is_refused(files, tmp_path):
    LxmertAnswerClassifier(MODEL).save_preset(tmp_path / "wordless")
    config = dataclasses.replace(CONFIG, init_from=str(tmp_path / "wordless"))
    with pytest.raises(InputError, match=r"has no vocab\.txt"):
        pretrain(files, (), config)
    words = [f"w{i}" for i in range(MODEL.vocab_size)]
    LxmertBackbone(MODEL, vocabulary=words).save_preset(tmp_path / "narrow")
    config = dataclasses.replace(CONFIG, init_from=str(tmp_path / "narrow"))
    with pytest.raises(InputError, match="its regions have 6 features, those of the records 256"):
        pretrain(files, (), config)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(files, tmp_path):
    wild = dataclasses.replace(CONFIG, peak_learning_rate=1e30, checkpoint_steps=1, warmup=0.0)
    with pytest.raises(GateError, match=r"the loss is (nan|inf) at step \d"):
        pretrain(files, (), wild, MODEL, directory=tmp_path / "run")
    assert steps_of(tmp_path / "run")
    assert not (tmp_path / "run" / "preset").exists()


@pytest.mark.slow
def test_lamb_trains_and_is_resumed(files, tmp_path):
    pytest.importorskip("tensorflow_addons", reason="needs TensorFlow Addons")
    config = dataclasses.replace(CONFIG, optimizer="lamb", stages=(StageConfig(2),))
    pretrain(files, (), config, MODEL, directory=tmp_path / "whole")
    losses = [line["loss"] for line in log_of(tmp_path / "whole")]
    assert losses[-1] < losses[0]
    as_if_killed_after(4, tmp_path / "whole", tmp_path / "resumed")
    pretrain(files, (), config, MODEL, directory=tmp_path / "resumed", resume=True)
    pairs = zip(weights_of(tmp_path / "resumed"), weights_of(tmp_path / "whole"), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)
