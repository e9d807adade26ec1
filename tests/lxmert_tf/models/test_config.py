"""The sizes of a model: valid files, and errors for others."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from lxmert_tf import LxmertConfig
from lxmert_tf.config_file import load_config
from lxmert_tf.errors import InputError
from lxmert_tf.training.config import AblationConfig, FinetuningConfig, PretrainingConfig
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
        ({"region_box_size": 5}, "region_box_size is 5; it must be 4 (x1, y1, x2, y2)"),
        ({"hidden_size": "48"}, "hidden_size is '48'; it must be a whole number"),
        ({"hidden_size": 999 * "4"}, "hidden_size is '444444444444...4444444444444'; it"),
        ({"hidden_size": 48.0}, "hidden_size is 48.0; it must be a whole number"),
        ({"cross_layers": True}, "cross_layers is True; it must be a whole number"),
        ({"num_answers": None}, "num_answers is None; it must be a whole number"),
        ({"hidden_dropout": "0.1"}, "hidden_dropout is '0.1'; it must be a number"),
        ({"layer_norm_eps": True}, "layer_norm_eps is True; it must be a number"),
        ({"hidden_act": 3}, "hidden_act is 3; it must be a string"),
        ({"hidden_act": "gleu"}, "hidden_act is 'gleu'; it must be one of gelu, relu"),
    ],
)
def test_a_model_value_out_of_range_is_refused(values, message):
    with pytest.raises(InputError) as raised:
        LxmertConfig(**values)
    assert message in one_line(raised)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('hidden_size: "48"', "hidden_size is '48'; it must be an integer"),
        ("hidden_size: 48.0", "hidden_size is 48.0; it must be an integer"),
        ("hidden_dropout: '0.1'", "hidden_dropout is '0.1'; it must be a number"),
        ("hidden_act: true", "hidden_act is True; it must be a string"),
        ("region_box_size: 5", "region_box_size is 5; it must be 4 (x1, y1, x2, y2)"),
        ("num_attention_heads: 7", "768 is not a multiple of num_attention_heads 7"),
        ("cross_layers: -1", "cross_layers is -1; it must be at least 1"),
    ],
)
def test_a_file_with_a_wrong_value_is_refused(line, message, tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text(f"{line}\n")
    with pytest.raises(InputError) as raised:
        LxmertConfig.from_file(path)
    assert one_line(raised).startswith(f"{path}: ")
    assert message in one_line(raised)


def test_numbers_of_numpy_become_numbers_that_json_can_hold():
    config = LxmertConfig(num_answers=np.int64(17), hidden_dropout=np.float32(0.5), cross_layers=1)
    assert json.loads(config.to_json())["num_answers"] == 17
    assert (type(config.num_answers), type(config.hidden_dropout)) == (int, float)


def test_an_unknown_field_is_named():
    with pytest.raises(
        InputError, match="no field is named 'hidden_sise'; it must be one of hidden_"
    ):
        LxmertConfig.from_dict({"hidden_sise": 48})
