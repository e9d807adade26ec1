"""Model sizes of other projects' checkpoints, from a config.json or from the tensors themselves."""

import pathlib
import re
from collections.abc import Mapping
from typing import Any

from lxmert_tf.config_file import read_mapping
from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig

# Fields of transformers' LxmertConfig, by our names.
HUGGINGFACE_FIELDS = {
    "hidden_size": "hidden_size",
    "num_attention_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "language_layers": "l_layers",
    "cross_layers": "x_layers",
    "relationship_layers": "r_layers",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "region_feature_size": "visual_feat_dim",
    "region_box_size": "visual_pos_dim",
    "num_objects": "num_object_labels",
    "num_attributes": "num_attr_labels",
    "num_answers": "num_qa_labels",
    "hidden_act": "hidden_act",
    "hidden_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "initializer_range": "initializer_range",
}
_HEAD_SIZE = 64
# The names that transformers makes up for labels without names.
_NO_NAME = re.compile(r"LABEL_\d+")


def is_huggingface(directory: pathlib.Path) -> bool:
    """Return whether a directory holds a model of Hugging Face's transformers, and not a preset.

    Raises:
        InputError: Its config.json is damaged.
    """
    config = directory / "config.json"
    if (directory / "preset.json").is_file() or not config.is_file():
        return False
    return "model_type" in read_mapping(config)


def answers_from_huggingface(values: Mapping[str, Any], count: int) -> list[str] | None:
    """Return the answers in a config.json of transformers, or None if it does not name them all.

    Args:
        values: Contents of the file.
        count: The number of answers.
    """
    labels = values.get("id2label")
    if not isinstance(labels, Mapping):
        return None
    names = [label for i in range(count) if isinstance(label := labels.get(str(i)), str)]
    is_named = len(names) == len(labels) == count and not any(map(_NO_NAME.fullmatch, names))
    return names if is_named else None


def from_huggingface(values: Mapping[str, Any], where: str) -> LxmertConfig:
    """Return the sizes in a config.json of transformers.

    Args:
        values: Contents of the file.
        where: Name of the file, for messages.

    Raises:
        InputError: It is not a config of LXMERT, or its values are invalid.
    """
    if values.get("model_type") != "lxmert":
        raise InputError(f"{where}: model_type is {values.get('model_type')!r}; expected 'lxmert'")
    fields = {
        ours: values[theirs] for ours, theirs in HUGGINGFACE_FIELDS.items() if theirs in values
    }
    try:
        return LxmertConfig.from_dict(fields)
    except (InputError, TypeError) as error:
        raise InputError(f"{where}: {error}") from error


def to_huggingface(config: LxmertConfig, architecture: str) -> dict[str, Any]:
    """Return the contents of a config.json that transformers reads.

    Args:
        config: Sizes of the model.
        architecture: Class of transformers, such as "LxmertForPreTraining".
    """
    fields = {theirs: getattr(config, ours) for ours, theirs in HUGGINGFACE_FIELDS.items()}
    return {"architectures": [architecture], "model_type": "lxmert", **fields}


def from_tensors(tensors: Mapping[str, StoredTensor], where: str) -> LxmertConfig:
    """Return the sizes that follow from the shapes of the release's tensors.

    The number of attention heads does not, so they are taken to be 64 wide, as in every published
    BERT. Everything else that shapes do not tell has the published values.

    Args:
        tensors: Tensors by the release's names.
        where: Name of the checkpoint, for messages.

    Raises:
        InputError: A tensor that determines a size is missing, or H is not a multiple of 64.
    """
    words = _matrix_shape(tensors, "bert.embeddings.word_embeddings.weight", where)
    features = _matrix_shape(tensors, "bert.encoder.visn_fc.visn_fc.weight", where)
    inner = _matrix_shape(tensors, "bert.encoder.x_layers.0.lang_inter.dense.weight", where)
    hidden_size = words[1]
    if hidden_size % _HEAD_SIZE:
        raise InputError(
            f"{where}: cannot tell the number of attention heads from a hidden size of "
            f"{hidden_size}; give a model config"
        )
    optional = {
        "max_position_embeddings": "bert.embeddings.position_embeddings.weight",
        "type_vocab_size": "bert.embeddings.token_type_embeddings.weight",
        "num_objects": "obj_predict_head.decoder_dict.obj.bias",
        "num_attributes": "obj_predict_head.decoder_dict.attr.bias",
        "num_answers": "answer_head.logit_fc.3.bias",
    }
    sizes: dict[str, Any] = {
        field: tensors[name].shape[0]
        for field, name in optional.items()
        if name in tensors and tensors[name].shape
    }
    return LxmertConfig(
        hidden_size=hidden_size,
        num_attention_heads=hidden_size // _HEAD_SIZE,
        intermediate_size=inner[0],
        language_layers=_count_layers(tensors, "bert.encoder.layer"),
        cross_layers=_count_layers(tensors, "bert.encoder.x_layers"),
        relationship_layers=_count_layers(tensors, "bert.encoder.r_layers"),
        vocab_size=words[0],
        region_feature_size=features[1],
        **sizes,
    )


def _matrix_shape(tensors: Mapping[str, StoredTensor], name: str, where: str) -> tuple[int, ...]:
    if name not in tensors or len(tensors[name].shape) != 2:
        raise InputError(f"{where}: not an LXMERT checkpoint; it has no matrix {name}")
    return tensors[name].shape


def _count_layers(tensors: Mapping[str, StoredTensor], prefix: str) -> int:
    pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
    return len({match[1] for name in tensors if (match := pattern.match(name))})
