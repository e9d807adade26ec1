"""Training configurations: defaults, stages, and what is refused."""

import pathlib

import pytest

from lxmert_tf.config_file import load_config
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import PRETRAINING_TASKS
from lxmert_tf.training.config import (
    AblationConfig,
    FinetuningConfig,
    PretrainingConfig,
    StageConfig,
)
from tests.lxmert_tf.samples import one_line

CONFIGS = pathlib.Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"vocabulary_size": 0}, "vocabulary_size is 0"),
        ({"max_regions": 0}, "max_regions is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"max_length": 2}, "max_length is 2; it must be at least 3"),
        ({"warmup": 1.0}, "warmup is 1.0; it must be less than 1"),
        ({"peak_learning_rate": 0.0}, "peak_learning_rate is 0.0; it must be greater than 0"),
        ({"peak_learning_rate": float("nan")}, "peak_learning_rate is nan"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
        ({"weight_decay": -0.01}, "weight_decay is -0.01; it must be at least 0"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
    ],
)
def test_a_training_value_out_of_range_is_refused(values, message):
    with pytest.raises(InputError) as raised:
        FinetuningConfig(**values)
    assert message in one_line(raised)


def test_the_variants_of_each_ablation_are_valid_changes_of_pre_training():
    published = CONFIGS / "pretraining" / "one_stage.yaml"
    for path in (CONFIGS / "ablation").glob("*.yaml"):
        for changes in load_config(AblationConfig, path).variants.values():
            # Refuses what is no valid change, and changes what is one.
            changed = load_config(PretrainingConfig, published, changes or ())
            assert (changed == load_config(PretrainingConfig, published)) == (not changes)


def test_a_stage_weighs_the_tasks_that_it_names_and_the_run_the_others():
    stage = StageConfig(1, {"answers": 2.0})
    config = PretrainingConfig(loss_weights={"answers": 0.0, "objects": 0.5}, stages=(stage,))
    weights = {**dict.fromkeys(PRETRAINING_TASKS, 1.0), "answers": 2.0, "objects": 0.5}
    assert config.weights_of(stage) == weights


def test_the_published_schedules_are_twenty_epochs():
    one, two = (
        load_config(PretrainingConfig, CONFIGS / "pretraining" / f"{name}.yaml")
        for name in ("one_stage", "two_stages")
    )
    assert one.epochs == two.epochs == 20
    assert set(one.weights_of(one.stages[0]).values()) == {1.0}
    assert [two.weights_of(stage)["answers"] for stage in two.stages] == [0.0, 2.0]
    assert (one.batch_size, one.peak_learning_rate, one.clip_norm) == (256, 1e-4, 1.0)


def test_only_measured_metrics_can_choose_the_best_epoch():
    assert FinetuningConfig(best_by="val_soft_accuracy").best_by
    with pytest.raises(InputError, match="it must be one of val_loss, val_accuracy"):
        FinetuningConfig(task="statements", best_by="val_soft_accuracy")
    with pytest.raises(InputError, match="but there are no validation files"):
        FinetuningConfig(best_by="val_loss").check_validation(())
    # The sum of losses with other weights is another loss, and one that is off is not measured.
    stages = (StageConfig(1, {"answers": 0.0}), StageConfig(1))
    assert PretrainingConfig(stages=stages, best_by="val_masked_lm_accuracy").best_by
    for metric in ("val_loss", "val_answers_loss", "val_region_features_accuracy"):
        with pytest.raises(InputError, match=f"best_by is '{metric}'; it must be one of"):
            PretrainingConfig(stages=stages, best_by=metric)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": ()}, "stages is empty"),
        ({"loss_weights": dict.fromkeys(PRETRAINING_TASKS, 0.0)}, "stage 1 trains nothing"),
        ({"loss_weights": {"object": 1.0}}, "loss_weights.object is 'object'; it must be"),
        ({"loss_weights": {"objects": -1.0}}, "loss_weights.objects is -1.0; it must be at least"),
        ({"init_from": "a", "vocabulary": "b"}, "init_from and vocabulary are both set"),
        ({"accumulation_steps": 0}, "accumulation_steps is 0; it must be at least"),
    ],
)
def test_a_pretraining_that_makes_no_sense_is_refused(values, message):
    with pytest.raises(InputError) as raised:
        PretrainingConfig(**values)
    assert message in one_line(raised)
