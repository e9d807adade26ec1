"""Import and export of the release's fine-tuned NLVR2 checkpoints."""

import dataclasses

import numpy as np
import pytest

from lxmert_tf import LxmertAnswerClassifier, LxmertConfig, LxmertPairClassifier
from lxmert_tf.cli.main import main
from lxmert_tf.converters.exporting import export_weights
from lxmert_tf.converters.formats.torch_reading import read_torch_file
from lxmert_tf.converters.formats.torch_writing import write_torch_file
from lxmert_tf.converters.importing import import_weights
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import load_preset
from tests import golden

# With heads 64 wide, sizes follow from the tensors.
SIZES = LxmertConfig.from_dict({**golden.TINY, "hidden_size": 128})


@pytest.fixture(scope="module")
def model():
    return LxmertPairClassifier(SIZES)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "nlvr2.pth"
    export_weights(model, "lxrt", path)
    return path


def rewrite(source, target, rename):
    """Write the same tensors under other names."""
    tensors = read_torch_file(source).items()
    write_torch_file(target, {rename(name): tensor for name, tensor in tensors})


def assert_equal(back, model):
    assert type(back) is LxmertPairClassifier
    assert back.answers == ["False", "True"]
    for ours, theirs in zip(back.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)


def test_names_and_shapes_are_those_of_the_release(exported):
    tensors = read_torch_file(exported)
    heads = {name: t.shape for name, t in tensors.items() if not name.startswith("lxrt_encoder.")}
    # NLVR2Model of the release: Linear(2H, 2H), GELU, LayerNorm(2H), Linear(2H, 2).
    assert heads == {
        "logit_fc.0.weight": (256, 256),
        "logit_fc.0.bias": (256,),
        "logit_fc.2.weight": (256,),
        "logit_fc.2.bias": (256,),
        "logit_fc.3.weight": (2, 256),
        "logit_fc.3.bias": (2,),
    }
    prefix = "lxrt_encoder.model.bert."
    assert {name[: len(prefix)] for name in set(tensors) - set(heads)} == {prefix}
    assert f"{prefix}encoder.x_layers.0.visual_attention.att.query.weight" in tensors


@pytest.mark.parametrize("config", [None, SIZES], ids=["sizes of the tensors", "given sizes"])
def test_a_fine_tuned_file_round_trips_to_the_byte(model, exported, tmp_path, config):
    back, report = import_weights("lxrt", exported, config)
    assert report.is_complete() and report.unexpected == ()
    assert_equal(back, model)
    export_weights(back, "lxrt", tmp_path / "again.pth")
    assert (tmp_path / "again.pth").read_bytes() == exported.read_bytes()


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"module.{name}",
        lambda name: name.replace("encoder.model.", "encoder.model.module."),
    ],
    ids=["all in DataParallel", "encoder in DataParallel"],
)
def test_files_of_several_gpus_are_read(model, exported, tmp_path, rename):
    rewrite(exported, tmp_path / "gpus.pth", rename)
    back, report = import_weights("lxrt", tmp_path / "gpus.pth", SIZES)
    assert report.is_complete() and report.unexpected == ()
    assert_equal(back, model)


@pytest.fixture(scope="module")
def one_image(tmp_path_factory):
    """The checkpoint of a model for one image, with as many answers as the one for two."""
    path = tmp_path_factory.mktemp("weights") / "one.pth"
    export_weights(LxmertAnswerClassifier(dataclasses.replace(SIZES, num_answers=2)), "lxrt", path)
    return path


def test_the_width_of_the_head_tells_one_image_from_two(one_image):
    assert type(import_weights("lxrt", one_image)[0]) is LxmertAnswerClassifier


def test_hugging_face_has_no_such_model(model, tmp_path):
    with pytest.raises(InputError) as raised:
        export_weights(model, "huggingface", tmp_path / "deep" / "hf")
    assert str(raised.value) == (
        "transformers has no equivalent of LxmertPairClassifier; use the format lxrt"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_command_reads_answer_tables_of_the_release(exported, one_image, tmp_path, capsys):
    (tmp_path / "ans2label.json").write_text('{"": 1, "yes": 0}')
    command = ["import-weights", "--source", "lxrt", "--answers", str(tmp_path / "ans2label.json")]
    output, checkpoint = ["--output", str(tmp_path / "preset")], "--checkpoint"
    assert main([*command, *output, checkpoint, str(one_image)]) == 0
    assert load_preset(tmp_path / "preset").answers == ["yes", ""]
    # A pair classifier has answers of its own.
    output[-1] = str(tmp_path / "pairs")
    assert main([*command, *output, checkpoint, str(exported)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "has the answers False and True, in this order" in error
