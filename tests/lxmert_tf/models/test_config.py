"""The sizes of a model: what a file may say and what is refused."""

import dataclasses
import pathlib

import pytest

from lxmert_tf import LxmertConfig
from lxmert_tf.config_file import load_config
from lxmert_tf.errors import InputError
from lxmert_tf.models.pretrainer_losses import LOSSES
from lxmert_tf.training.ablation import AblationConfig
from lxmert_tf.training.config import (
    PRETRAINING_TASKS,
    FinetuningConfig,
    PretrainingConfig,
    StageConfig,
)
from tests import golden
from tests.lxmert_tf.samples import CONFIG, one_line

CONFIGS = pathlib.Path(__file__).parents[3] / "configs"


def test_the_reference_config_is_a_model_config():
    config = LxmertConfig.from_file(golden.golden_directory("small") / "config.json")
    assert (config.hidden_size, config.vocab_size, config.num_answers) == (48, 211, 17)
    assert config.layer_norm_eps == 1e-12


def test_defaults_are_the_published_sizes():
    base = LxmertConfig.from_file(CONFIGS / "model" / "base.yaml")
    assert base == LxmertConfig()
    assert (base.hidden_size, base.num_attention_heads, base.intermediate_size) == (768, 12, 3072)
    assert (base.language_layers, base.relationship_layers, base.cross_layers) == (9, 5, 5)


CONFIG_CLASSES = {
    "model": LxmertConfig,
    "task": FinetuningConfig,
    "pretraining": PretrainingConfig,
    "ablation": AblationConfig,
}


@pytest.mark.parametrize(
    "path",
    [path for kind in CONFIG_CLASSES for path in sorted((CONFIGS / kind).glob("*.yaml"))],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_every_config_in_the_repository_loads(path):
    cls = CONFIG_CLASSES[path.parent.name]
    assert isinstance(load_config(cls, path), cls)


def test_a_config_survives_its_dict_and_its_json(tmp_path):
    assert LxmertConfig.from_dict(CONFIG.to_dict()) == CONFIG
    (tmp_path / "config.json").write_text(CONFIG.to_json())
    assert LxmertConfig.from_file(tmp_path / "config.json") == CONFIG


@pytest.mark.parametrize(
    "field",
    [field.name for field in dataclasses.fields(LxmertConfig) if field.type is int],
)
def test_a_negative_size_is_refused(field):
    with pytest.raises(InputError) as raised:
        LxmertConfig(**{field: -1})
    assert f"{field} is -1; it must be at least" in one_line(raised)


def test_only_single_modality_encoders_may_have_no_layers():
    assert LxmertConfig(language_layers=0, relationship_layers=0).language_layers == 0
    with pytest.raises(InputError, match="cross_layers is 0"):
        LxmertConfig(cross_layers=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_dropout": 1.0}, "hidden_dropout is 1.0; it must be in [0, 1)"),
        ({"attention_dropout": -0.1}, "attention_dropout is -0.1; it must be in [0, 1)"),
        ({"attention_dropout": float("nan")}, "attention_dropout is nan"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps is 0.0; it must be above 0"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan"),
        ({"initializer_range": -1.0}, "initializer_range is -1.0"),
        ({"initializer_range": float("inf")}, "initializer_range is inf"),
        ({"num_attention_heads": 7}, "768 is not a multiple of num_attention_heads 7"),
        ({"hidden_act": "gleu"}, "hidden_act is 'gleu'; it must be one of gelu, relu"),
    ],
)
def test_a_model_value_out_of_range_is_refused(values, message):
    with pytest.raises(InputError) as raised:
        LxmertConfig(**values)
    assert message in one_line(raised)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"vocabulary_size": 0}, "vocabulary_size is 0"),
        ({"max_regions": 0}, "max_regions is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"max_length": 2}, "max_length is 2; it must be at least 3"),
        ({"warmup": 1.0}, "warmup is 1.0; it must be in [0, 1)"),
        ({"peak_learning_rate": 0.0}, "peak_learning_rate is 0.0; it must be above 0"),
        ({"peak_learning_rate": float("nan")}, "peak_learning_rate is nan"),
        ({"clip_norm": -1.0}, "clip_norm is -1.0"),
        ({"weight_decay": -0.01}, "weight_decay is -0.01; it must not be negative"),
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
    assert tuple(LOSSES) == PRETRAINING_TASKS


def test_the_published_schedules_are_twenty_epochs():
    one, two = (
        load_config(PretrainingConfig, CONFIGS / "pretraining" / f"{name}.yaml")
        for name in ("one_stage", "two_stages")
    )
    assert one.epochs == two.epochs == 20
    assert set(one.weights_of(one.stages[0]).values()) == {1.0}
    assert [two.weights_of(stage)["answers"] for stage in two.stages] == [0.0, 2.0]
    assert (one.batch_size, one.peak_learning_rate, one.clip_norm) == (256, 1e-4, 1.0)
