"""Whole runs: what they leave, and how they are resumed, refused, and stopped."""

import dataclasses
import json
import math
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertPretrainer
from lxmert_tf.data import batches
from lxmert_tf.data.batches import find_records
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.regions.grid import GridExtractor
from lxmert_tf.training import dataset_info, trainer
from lxmert_tf.training.config import FinetuningConfig, StageConfig
from lxmert_tf.training.dataset_info import kept_dataset_info
from lxmert_tf.training.finetune import finetune
from lxmert_tf.training.pretrain import pretrain
from tests.lxmert_tf.samples import one_line, pair_scenes, write_records
from tests.lxmert_tf.training.conftest import MODEL, PRETRAINING

SMALL = {"vocabulary_size": 120, "max_regions": 8}


def steps_of(directory: pathlib.Path) -> list[int]:
    return sorted(int(p.stem.split("-")[1]) for p in directory.glob("checkpoints/*.index"))


def log_of(directory: pathlib.Path) -> list[dict]:
    lines = (directory / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def weights_of(directory: pathlib.Path) -> list[np.ndarray]:
    return LxmertPretrainer.from_preset(directory / "preset").get_weights()


def copy_as_if_killed(after_step: int, directory: pathlib.Path, copy: pathlib.Path) -> None:
    """Copy a run, and cut its later checkpoints short, as a full disk would."""
    shutil.copytree(directory, copy)
    shutil.rmtree(copy / "preset")
    for later in (step for step in steps_of(copy) if step > after_step):
        for path in copy.glob(f"checkpoints/step-{later}.*"):
            path.write_bytes(path.read_bytes()[:100])


@pytest.mark.e2e
def test_a_run_leaves_checkpoints_a_log_and_a_preset(finished):
    model = LxmertPretrainer.from_preset(finished / "preset")
    assert model.config.vocab_size == len(model.vocabulary)
    assert model.config.num_answers == len(model.answers) > 5
    last = steps_of(finished)[-1]
    epoch = last // 2
    assert set(steps_of(finished)) == {*range(3, last + 1, 3), epoch, last}
    lines = log_of(finished)
    assert [(line["epoch"], line["step"]) for line in lines] == [(0, epoch), (1, last)]
    assert all(line["learning_rate"] >= 0 and line["gradient_norm"] > 0 for line in lines)
    # The first stage does not train answers.
    assert "answers_loss" not in lines[0] and "answers_loss" in lines[1]
    assert list((finished / "tensorboard").iterdir())


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("in the first stage", marks=pytest.mark.slow),
        pytest.param("between the stages", marks=pytest.mark.slow),
        pytest.param("in the second", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(
    where, finished, files, tmp_path, capfd, monkeypatch
):
    epoch = steps_of(finished)[-1] // 2
    step = {"in the first stage": 3, "between the stages": epoch, "in the second": 12}[where]
    copy_as_if_killed(step, finished, tmp_path / "run")
    # What the data determine was kept.
    monkeypatch.setattr(dataset_info, "read_sentences", None)
    pretrain(files, (), PRETRAINING, MODEL, directory=tmp_path / "run", resume=True)
    messages = capfd.readouterr().err
    assert "damaged checkpoint" in messages and f"resuming at step {step} " in messages
    for ours, theirs in zip(weights_of(tmp_path / "run"), weights_of(finished), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # The lines of the steps that were repeated are there once.
    steps = [line["step"] for line in log_of(tmp_path / "run")]
    assert steps == sorted(set(steps)) == [line["step"] for line in log_of(finished)]


@pytest.mark.slow
def test_a_run_whose_stages_read_other_records_is_resumed_in_either(files, tmp_path, capfd):
    for number, name in enumerate(("easy", "hard")):
        (tmp_path / name).mkdir()
        shutil.copy(files[number], tmp_path / name)
    records = find_records(tmp_path / "easy", tmp_path / "hard")
    stages = (StageConfig(1, split="hard"), StageConfig(2, split="easy"))
    config = dataclasses.replace(PRETRAINING, stages=stages, checkpoint_steps=2)
    whole = tmp_path / "whole"
    pretrain(records, (), config, MODEL, directory=whole)
    info = kept_dataset_info(whole)
    hard, easy = (math.ceil(info.splits[name] / config.batch_size) for name in ("hard", "easy"))
    assert [line["step"] for line in log_of(whole)] == [hard, hard + easy, hard + 2 * easy]
    for step in (2, hard, hard + easy):
        copy = tmp_path / f"from-{step}"
        copy_as_if_killed(step, whole, copy)
        pretrain(records, (), config, MODEL, directory=copy, resume=True)
        assert f"resuming at step {step} " in capfd.readouterr().err
        for ours, theirs in zip(weights_of(copy), weights_of(whole), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.e2e
def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(finished, files):
    before = weights_of(finished)
    with pytest.raises(InputError, match="continue it with --resume"):
        pretrain(files, (), PRETRAINING, MODEL, directory=finished)
    other = dataclasses.replace(PRETRAINING, weight_decay=0.5)
    with pytest.raises(InputError, match=r"weight_decay was 0.01 and is 0.5 now"):
        pretrain(files, (), other, MODEL, directory=finished, resume=True)
    with pytest.raises(InputError, match=r"record_bytes was \d+ and is \d+ now"):
        pretrain(files[:1], (), PRETRAINING, MODEL, directory=finished, resume=True)
    for ours, theirs in zip(weights_of(finished), before):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.e2e
def test_unreadable_checkpoints_are_reported(finished, files, tmp_path):
    copy_as_if_killed(0, finished, tmp_path / "run")
    with pytest.raises(InputError, match="no checkpoint can be read"):
        pretrain(files, (), PRETRAINING, MODEL, directory=tmp_path / "run", resume=True)


def test_a_preset_that_does_not_fit_is_refused(files, tmp_path):
    LxmertAnswerClassifier(MODEL).save_preset(tmp_path / "wordless")
    config = dataclasses.replace(PRETRAINING, init_from=str(tmp_path / "wordless"))
    with pytest.raises(InputError, match=r"has no vocab\.txt"):
        pretrain(files, (), config)
    words = [f"w{i}" for i in range(MODEL.vocab_size)]
    LxmertBackbone(MODEL, vocabulary=words).save_preset(tmp_path / "narrow")
    config = dataclasses.replace(PRETRAINING, init_from=str(tmp_path / "narrow"))
    with pytest.raises(InputError, match="its regions have 6 features, those of the records 64"):
        pretrain(files, (), config)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(files, tmp_path):
    wild = FinetuningConfig(
        **SMALL, batch_size=16, peak_learning_rate=1e30, checkpoint_steps=1, warmup=0.0
    )
    with pytest.raises(GateError, match=r"the loss is (nan|inf) at step \d"):
        finetune(files, (), wild, MODEL, directory=tmp_path / "run")
    assert steps_of(tmp_path / "run")
    assert not (tmp_path / "run" / "preset").exists()


@pytest.mark.e2e
def test_images_with_more_regions_than_there_is_room_end_in_one_line(files):
    config = FinetuningConfig(**{**SMALL, "max_regions": 2}, epochs=1)
    reason = r"an image has \d regions, more than max_regions = 2; set max_regions in the config"
    with pytest.raises(InputError, match=reason) as raised:
        finetune(files, (), config, MODEL)
    assert files[0] in one_line(raised)


@pytest.mark.slow
def test_a_statement_that_is_neither_true_nor_false_ends_in_one_line(tmp_path):
    answers = (("maybe", 1.0),)
    scenes = [
        dataclasses.replace(
            scene,
            sentences=tuple(dataclasses.replace(s, answers=answers) for s in scene.sentences),
        )
        for scene in pair_scenes(2, GridExtractor(crop_size=4))
    ]
    path = write_records(tmp_path / "pairs.tfrecord", scenes)
    config = FinetuningConfig(**SMALL, task="statements", epochs=1)
    with pytest.raises(InputError, match="must have one answer, True or False") as raised:
        finetune([path], (), config, MODEL)
    assert one_line(raised).startswith(f"{path} (of 1): the sentence ")


@pytest.mark.parametrize("work", ["_build_model", "_fit"])
def test_a_lost_worker_ends_the_others_in_one_line(work, files, monkeypatch):
    def lose(*args, **options):
        raise tf.errors.UnavailableError(None, None, "Connection reset by peer")

    monkeypatch.setattr(trainer, work, lose)
    with pytest.raises(InputError, match="another worker ended or cannot be reached") as raised:
        finetune(files, (), FinetuningConfig(**SMALL, epochs=1), MODEL)
    one_line(raised)


@pytest.mark.slow
def test_records_that_are_missing_are_noticed_without_a_scan(files, tmp_path):
    folder = pathlib.Path(shutil.copytree(pathlib.Path(files[0]).parent, tmp_path / "records"))
    (folder / "scenes-1.tfrecord").unlink()
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nwhat\n")
    (tmp_path / "answers.txt").write_text("yes\nno\n")
    config = FinetuningConfig(
        vocabulary=str(tmp_path / "vocab.txt"), answers=str(tmp_path / "answers.txt"), epochs=1
    )
    with pytest.raises(InputError, match="a record file is cut short or missing"):
        finetune(batches.find_records(folder), (), config, MODEL)


@pytest.mark.slow
def test_the_best_epoch_is_the_result(files, tmp_path, capfd):
    config = FinetuningConfig(
        **SMALL, batch_size=64, epochs=2, peak_learning_rate=1e-2, warmup=0.0, best_by="val_loss"
    )
    model, _ = finetune(files, files[:1], config, MODEL, directory=tmp_path)
    lines = log_of(tmp_path)
    assert [line["epoch"] for line in lines] == [0, 1]
    best = min(lines, key=lambda line: line["val_loss"])
    assert lines[-1]["best_epoch"] == best["epoch"]
    assert f"best: epoch {best['epoch'] + 1}, with val_loss" in capfd.readouterr().out
    assert (tmp_path / "checkpoints" / f"best-{best['step']}.index").exists()


@pytest.mark.slow
def test_lamb_trains_and_is_resumed(files, tmp_path):
    pytest.importorskip("tensorflow_addons", reason="needs TensorFlow Addons")
    config = dataclasses.replace(PRETRAINING, optimizer="lamb", stages=(StageConfig(2),))
    pretrain(files, (), config, MODEL, directory=tmp_path / "whole")
    losses = [line["loss"] for line in log_of(tmp_path / "whole")]
    assert losses[-1] < losses[0]
    copy_as_if_killed(3, tmp_path / "whole", tmp_path / "resumed")
    pretrain(files, (), config, MODEL, directory=tmp_path / "resumed", resume=True)
    pairs = zip(weights_of(tmp_path / "resumed"), weights_of(tmp_path / "whole"), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)
