"""Sizes of foreign checkpoints: from a Hugging Face config.json, or from the tensors themselves."""

import re
from collections.abc import Mapping
from typing import Any

from lxmert_tf.converters.formats.stored_tensor import StoredTensor
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig

# Hugging Face's LxmertConfig, by our field.
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
_BERT_HEAD_SIZE = 64


def from_huggingface(values: Mapping[str, Any], where: str) -> LxmertConfig:
    """The sizes that a Hugging Face config.json gives; LayerNorm's epsilon is fixed there.

    Raises:
        InputError: it is not a config of LXMERT, or its values make no sense.
    """
    if values.get("model_type") != "lxmert":
        raise InputError(
            f"{where}: model_type is {values.get('model_type')!r}; it must be 'lxmert'"
        )
    fields = {
        ours: values[theirs] for ours, theirs in HUGGINGFACE_FIELDS.items() if theirs in values
    }
    try:
        return LxmertConfig.from_dict(fields)
    except (InputError, TypeError) as error:
        raise InputError(f"{where}: {error}") from error


def to_huggingface(config: LxmertConfig, architecture: str) -> dict[str, Any]:
    """A config.json that transformers reads."""
    fields = {theirs: getattr(config, ours) for ours, theirs in HUGGINGFACE_FIELDS.items()}
    return {"architectures": [architecture], "model_type": "lxmert", **fields}


def from_tensors(tensors: Mapping[str, StoredTensor], where: str) -> LxmertConfig:
    """The sizes that the shapes of the release's tensors give.

    Heads leave no trace in the shapes: 64 wide each is assumed, as in every published BERT.

    Raises:
        InputError: a tensor that decides a size is missing, or H is no multiple of 64.
    """

    def rows(name: str, default: int) -> int:
        return tensors[name].shape[0] if name in tensors and tensors[name].shape else default

    def layers(prefix: str) -> int:
        numbers = [int(m[1]) for n in tensors if (m := re.match(rf"{prefix}\.(\d+)\.", n))]
        return max(numbers, default=-1) + 1

    published = LxmertConfig()
    words = "bert.embeddings.word_embeddings.weight"
    features = "bert.encoder.visn_fc.visn_fc.weight"
    inner = "bert.encoder.x_layers.0.lang_inter.dense.weight"
    for name in (words, features, inner):
        if name not in tensors or len(tensors[name].shape) != 2:
            raise InputError(f"{where}: no LXMERT checkpoint; it has no matrix {name}")
    vocab_size, hidden_size = tensors[words].shape
    if hidden_size % _BERT_HEAD_SIZE:
        raise InputError(
            f"{where}: the number of attention heads cannot be told from a width of "
            f"{hidden_size}; name a model config"
        )
    return LxmertConfig(
        hidden_size=hidden_size,
        num_attention_heads=hidden_size // _BERT_HEAD_SIZE,
        intermediate_size=tensors[inner].shape[0],
        language_layers=layers(r"bert\.encoder\.layer"),
        cross_layers=layers(r"bert\.encoder\.x_layers"),
        relationship_layers=layers(r"bert\.encoder\.r_layers"),
        vocab_size=vocab_size,
        max_position_embeddings=rows("bert.embeddings.position_embeddings.weight", 512),
        type_vocab_size=rows("bert.embeddings.token_type_embeddings.weight", 2),
        region_feature_size=tensors[features].shape[1],
        num_objects=rows("obj_predict_head.decoder_dict.obj.bias", published.num_objects),
        num_attributes=rows("obj_predict_head.decoder_dict.attr.bias", published.num_attributes),
        num_answers=rows("answer_head.logit_fc.3.bias", published.num_answers),
    )
