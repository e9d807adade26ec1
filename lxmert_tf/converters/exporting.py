"""Export of the library's models to the formats of PyTorch users."""

import functools
import json
import pathlib
from collections.abc import Callable

import numpy as np

from lxmert_tf.atomic_write import atomic_directory, atomic_file
from lxmert_tf.converters import FORMATS
from lxmert_tf.converters.foreign_config import to_huggingface
from lxmert_tf.converters.foreign_vocabulary import write_vocabulary
from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.safetensors_file import write_safetensors
from lxmert_tf.converters.formats.torch_writing import write_torch_file
from lxmert_tf.converters.weight_names import TIED_NAMES, NamedVariable, model_variables
from lxmert_tf.errors import InputError
from lxmert_tf.models.backbone import LxmertBackbone
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.models.pretrainer import LxmertPretrainer

# Classes of transformers with the same heads as ours.
_ARCHITECTURES = {
    "LxmertBackbone": "LxmertModel",
    "LxmertPretrainer": "LxmertForPreTraining",
    "LxmertAnswerClassifier": "LxmertForQuestionAnswering",
}


def export_weights(model: PresetModel, format: str, output) -> None:
    """Write the weights of a model as a checkpoint for PyTorch, whole or not at all.

    Args:
        model: Any model of the library.
        format: "lxrt" for a file of the release, such as `NAME_LXRT.pth`; "huggingface" for a
            directory with config.json and model.safetensors, and the files of a tokenizer if the
            model has a vocabulary.
        output: File or directory to write, which must not exist. Missing parents are created.

    Raises:
        InputError: The output exists, or the format has no such model.

    Example:
        >>> from lxmert_tf import LxmertBackbone, LxmertConfig, export_weights
        >>> config = LxmertConfig(
        ...     hidden_size=64, num_attention_heads=1,
        ...     language_layers=1, relationship_layers=1, cross_layers=1,
        ... )
        >>> model = LxmertBackbone(config)
        >>> export_weights(model, "huggingface", "build/huggingface")
    """
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}; it must be one of {', '.join(FORMATS)}")
    output = pathlib.Path(output)
    if format == "huggingface":
        _write_huggingface(model, output)
    elif output.exists():
        raise InputError(f"{output}: already exists; choose a new path or remove it")
    else:
        _write_lxrt(model, output)


def _write_lxrt(model: PresetModel, path: pathlib.Path) -> None:
    # The release has no pre-trained model for two images, only fine-tuned ones.
    rename = _fine_tuned_name if isinstance(model, LxmertPairClassifier) else str
    tied = TIED_NAMES if isinstance(model, LxmertPretrainer) else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        write_torch_file(partial, _tensors(model, rename), tied)


def _fine_tuned_name(name: str) -> str:
    """Return the name of a tensor in the release's fine-tuned models."""
    if name.startswith("bert."):
        return f"lxrt_encoder.model.{name}"
    return name.removeprefix("answer_head.")


def _write_huggingface(model: PresetModel, directory: pathlib.Path) -> None:
    architecture = _ARCHITECTURES.get(type(model).__name__)
    if architecture is None:
        raise InputError(
            f"transformers has no equivalent of {type(model).__name__}; use the format lxrt"
        )
    # transformers omits the prefix in LxmertModel; in the others it is the attribute `lxmert`.
    prefix = "" if isinstance(model, LxmertBackbone) else "lxmert."
    tensors = _tensors(model, lambda name: name.replace("bert.", prefix, 1))
    config = to_huggingface(model.config, architecture)
    if model.answers is not None:
        config["id2label"] = dict(enumerate(model.answers))
    with atomic_directory(directory) as partial:
        write_safetensors(partial / "model.safetensors", tensors)
        (partial / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        if model.vocabulary is not None:
            write_vocabulary(partial, model.vocabulary)


def _tensors(model: PresetModel, rename: Callable[[str], str]) -> dict[str, StoredTensor]:
    return {
        rename(name): StoredTensor(shape, functools.partial(_tensor, named, name))
        for named in model_variables(model)
        for name, shape in named.shapes().items()
    }


def _tensor(named: NamedVariable, name: str) -> np.ndarray:
    return named.split(named.variable.numpy())[name]
