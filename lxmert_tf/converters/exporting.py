"""Weights of our models in the formats that PyTorch's users have."""

import json
import os
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np

from lxmert_tf.converters.foreign_config import to_huggingface
from lxmert_tf.converters.formats.safetensors_file import write_safetensors
from lxmert_tf.converters.formats.torch_writing import write_torch_file
from lxmert_tf.converters.weight_names import TIED_NAMES, model_variables
from lxmert_tf.errors import InputError
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.models.pretrainer import LxmertPretrainer

FORMATS = ("lxrt", "huggingface")
# What transformers calls the class that has our class's heads.
_ARCHITECTURES = {
    "LxmertBackbone": "LxmertModel",
    "LxmertPretrainer": "LxmertForPreTraining",
    "LxmertAnswerClassifier": "LxmertForQuestionAnswering",
}


def export_weights(model: PresetModel, form: str, output) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        model: any of the library's models.
        form: "lxrt" (a file such as `NAME_LXRT.pth`) or "huggingface" (a directory with config.json
            and model.safetensors).
        output: the file or directory; it must not exist.

    Raises:
        InputError: the output exists, or the format has no such model.
    """
    if form == "huggingface" and type(model).__name__ not in _ARCHITECTURES:
        raise InputError(
            f"{type(model).__name__}: transformers has no such class; the format lxrt has"
        )
    output = pathlib.Path(output)
    if output.exists():
        raise InputError(f"{output}: already exists; name a new file or directory")
    output.parent.mkdir(parents=True, exist_ok=True)
    write = _write_lxrt if form == "lxrt" else _write_huggingface
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as folder:
        written = pathlib.Path(folder) / "checkpoint"
        write(model, written)
        os.rename(written, output)


def _write_lxrt(model: PresetModel, path: pathlib.Path) -> None:
    # Of a model for two images the release has nothing but what it fine-tuned.
    rename = _fine_tuned_name if isinstance(model, LxmertPairClassifier) else str
    shapes, value = _tensors(model, rename)
    tied = TIED_NAMES if isinstance(model, LxmertPretrainer) else {}
    write_torch_file(path, shapes, value, tied)


def _fine_tuned_name(name: str) -> str:
    """The name that a tensor has in a model that the release fine-tuned."""
    if name.startswith("bert."):
        return f"lxrt_encoder.model.{name}"
    return name.removeprefix("answer_head.")


def _write_huggingface(model: PresetModel, directory: pathlib.Path) -> None:
    # Alone, the model has no prefix; below a head it is the attribute `lxmert`.
    prefix = "" if isinstance(model, LxmertBackbone) else "lxmert."
    shapes, value = _tensors(model, lambda name: name.replace("bert.", prefix, 1))
    directory.mkdir()
    write_safetensors(directory / "model.safetensors", shapes, value)
    config = to_huggingface(model.config, _ARCHITECTURES[type(model).__name__])
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _tensors(model: PresetModel, rename: Callable[[str], str]):
    """The shapes of the tensors by foreign name, and a function that gives one of them by it."""
    named = {
        rename(name): (variable, name)
        for variable in model_variables(model)
        for name in variable.names
    }
    shapes = {theirs: variable.shapes()[name] for theirs, (variable, name) in named.items()}

    def value(theirs: str) -> np.ndarray:
        variable, name = named[theirs]
        return variable.split(variable.variable.numpy())[name]

    return shapes, value
