"""A config that asks for more than its files hold is refused before the model is built."""

import dataclasses
import json

import pytest

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertPretrainer, load_preset
from lxmert_tf.converters.exporting import export_weights
from lxmert_tf.converters.importing import import_weights
from lxmert_tf.errors import InputError
from lxmert_tf.models import stored_size
from lxmert_tf.models.config import LxmertConfig
from tests.lxmert_tf.samples import config, one_line

SMALL = config(language_layers=1, cross_layers=1, relationship_layers=1)


@pytest.mark.parametrize("cls", [LxmertBackbone, LxmertAnswerClassifier, LxmertPretrainer])
def test_the_count_is_that_of_the_models_matrices(cls):
    model = cls(SMALL)
    matrices = sum(weight.shape.num_elements() for weight in model.weights if weight.shape.rank > 1)
    assert 0.7 * matrices < stored_size._count_weights(SMALL, set(cls.head_names)) <= matrices


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 1 << 40},
        {"vocab_size": 10**12},
        {"language_layers": 10**12},
        {"num_answers": 10**12},
        {"region_feature_size": 10**12},
    ],
)
def test_a_preset_that_asks_for_too_much_is_refused(tmp_path, changes):
    LxmertAnswerClassifier(SMALL).save_preset(tmp_path / "preset")
    path = tmp_path / "preset" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError) as raised:
        load_preset(tmp_path / "preset")
    assert "the config describes" in one_line(raised) and "bytes in which" in one_line(raised)


def test_so_is_a_directory_of_hugging_face(tmp_path):
    export_weights(LxmertBackbone(SMALL), "huggingface", tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "vocab_size": 10**12}))
    for load in (load_preset, lambda directory: import_weights("huggingface", directory)):
        with pytest.raises(InputError, match="the config describes"):
            load(tmp_path / "hf")


def test_a_published_model_fits_its_files(tmp_path):
    published = LxmertConfig()
    path = tmp_path / "model_LXRT.pth"
    with path.open("wb") as file:
        # 200 million weights of 2 bytes.
        file.truncate(400_000_000)
    stored_size.check_stored_size(published, path, LxmertPretrainer.head_names)
    large = dataclasses.replace(published, hidden_size=3072, intermediate_size=12288)
    with pytest.raises(InputError):
        stored_size.check_stored_size(large, path)
