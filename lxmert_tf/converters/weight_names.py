"""Names of the PyTorch release's tensors (`*_LXRT.pth`) for the variables of our models.

The release stores the kernel of a dense layer as [out, in], we as [in, out]. It stores the query,
key and value kernels of an attention layer separately, we as one kernel of [in, 3 out].
"""

import dataclasses
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

# Each table maps the attribute path of one of our layers or variables to its name in the release.
# Braces list the tensors that are concatenated in one of our variables.
_TRANSFORMER_LAYER = {
    "self_attention.query_key_value": "attention.self.{query,key,value}",
    "self_attention.output_projection": "attention.output.dense",
    "self_attention.residual_norm.norm": "attention.output.LayerNorm",
    "feed_forward.intermediate": "intermediate.dense",
    "feed_forward.output_projection": "output.dense",
    "feed_forward.residual_norm.norm": "output.LayerNorm",
}
_CROSS_MODALITY_LAYER = {
    "cross_attention.query_key_value": "visual_attention.att.{query,key,value}",
    "cross_attention.output_projection": "visual_attention.output.dense",
    "cross_attention.residual_norm.norm": "visual_attention.output.LayerNorm",
    "language_self_attention.query_key_value": "lang_self_att.self.{query,key,value}",
    "language_self_attention.output_projection": "lang_self_att.output.dense",
    "language_self_attention.residual_norm.norm": "lang_self_att.output.LayerNorm",
    "language_feed_forward.intermediate": "lang_inter.dense",
    "language_feed_forward.output_projection": "lang_output.dense",
    "language_feed_forward.residual_norm.norm": "lang_output.LayerNorm",
    "vision_self_attention.query_key_value": "visn_self_att.self.{query,key,value}",
    "vision_self_attention.output_projection": "visn_self_att.output.dense",
    "vision_self_attention.residual_norm.norm": "visn_self_att.output.LayerNorm",
    "vision_feed_forward.intermediate": "visn_inter.dense",
    "vision_feed_forward.output_projection": "visn_output.dense",
    "vision_feed_forward.residual_norm.norm": "visn_output.LayerNorm",
}
_LANGUAGE_EMBEDDINGS = {
    "word_embeddings": "word_embeddings.weight",
    "position_embeddings": "position_embeddings.weight",
    "segment_embeddings": "token_type_embeddings.weight",
    "norm": "LayerNorm",
}
_REGION_EMBEDDINGS = {
    "feature_projection": "visn_fc",
    "feature_norm": "visn_layer_norm",
    "box_projection": "box_fc",
    "box_norm": "box_layer_norm",
}
_MASKED_LM_HEAD = {
    "transform": "transform.dense",
    "transform_norm": "transform.LayerNorm",
    "output_bias": "bias",
}
_REGION_HEAD = {
    "transform": "transform.dense",
    "transform_norm": "transform.LayerNorm",
    "objects": "decoder_dict.obj",
    "attributes": "decoder_dict.attr",
    "features": "decoder_dict.feat",
}
_ANSWER_HEAD = {"transform": "0", "transform_norm": "2", "answers": "3"}

# Parts of a model: attribute path, prefix of the names in the release, table of the layers in it.
# An asterisk stands for the index in a list of layers.
_Part = tuple[str, str, dict[str, str]]
_BERT: tuple[_Part, ...] = (
    ("language_embeddings", "bert.embeddings.", _LANGUAGE_EMBEDDINGS),
    ("language_layers.*", "bert.encoder.layer.*.", _TRANSFORMER_LAYER),
    ("pooler", "bert.pooler.", {"dense": "dense"}),
)
_BACKBONE: tuple[_Part, ...] = (
    *_BERT,
    ("region_embeddings", "bert.encoder.visn_fc.", _REGION_EMBEDDINGS),
    ("relationship_layers.*", "bert.encoder.r_layers.*.", _TRANSFORMER_LAYER),
    ("cross_modality_layers.*", "bert.encoder.x_layers.*.", _CROSS_MODALITY_LAYER),
)
_HEADS: tuple[_Part, ...] = (
    ("masked_lm_head", "cls.predictions.", _MASKED_LM_HEAD),
    ("matched_head", "cls.", {"": "seq_relationship"}),
    ("region_head", "obj_predict_head.", _REGION_HEAD),
    ("answer_head", "answer_head.logit_fc.", _ANSWER_HEAD),
)
# The output matrix of masked language modeling is the word table; PyTorch stores both names.
TIED_NAMES = {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}


@dataclasses.dataclass(frozen=True)
class NamedVariable:
    """A variable and the tensors of the release that make it up.

    Args:
        variable: Our variable.
        names: Names of the release's tensors, which are concatenated along our last axis.
        transposed: True if the release's tensors are [out, in].
    """

    variable: tf.Variable
    names: tuple[str, ...]
    transposed: bool = False

    def join(self, tensors: dict[str, np.ndarray]) -> np.ndarray:
        """Return the value of our variable from the release's tensors, given by name."""
        parts = [tensors[name].T if self.transposed else tensors[name] for name in self.names]
        return np.concatenate(parts, axis=-1)

    def split(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """Return the release's tensors by name from the value of our variable."""
        parts = np.split(value, len(self.names), axis=-1)
        return dict(zip(self.names, (part.T if self.transposed else part for part in parts)))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the release's tensors by name."""
        *lead, last = self.variable.shape.as_list()
        shape = (*lead, last // len(self.names))
        return {name: shape[::-1] if self.transposed else shape for name in self.names}


def model_variables(model) -> Iterator[NamedVariable]:
    """Yield all variables of any model of the library, those of the backbone first.

    Args:
        model: An `LxmertBackbone` or a model that has one as its attribute `backbone`.
    """
    yield from _part_variables(getattr(model, "backbone", model), _BACKBONE)
    yield from _part_variables(model, (head for head in _HEADS if hasattr(model, head[0])))


def bert_variables(backbone) -> Iterator[NamedVariable]:
    """Yield the variables of an `LxmertBackbone` that a BERT has under the same names.

    These are the embeddings, the language encoder and the pooler.
    """
    yield from _part_variables(backbone, _BERT)


def _part_variables(model, parts: Iterable[_Part]) -> Iterator[NamedVariable]:
    for path, prefix, layers in parts:
        found = _attribute(model, path.removesuffix(".*"))
        for i, part in enumerate(found if path.endswith(".*") else [found]):
            for layer_path, name in layers.items():
                names = _expand_braces(prefix.replace("*", str(i)) + name)
                yield from _layer_variables(_attribute(part, layer_path), names)


def _layer_variables(layer, names: tuple[str, ...]) -> Iterator[NamedVariable]:
    """Yield the variables of a dense layer or a LayerNorm, or the variable that `layer` is."""
    if isinstance(layer, tf.Variable):
        yield NamedVariable(layer, names)
        return
    weights, biases = (tuple(f"{name}.{end}" for name in names) for end in ("weight", "bias"))
    if hasattr(layer, "kernel"):
        yield NamedVariable(layer.kernel, weights, transposed=True)
        yield NamedVariable(layer.bias, biases)
    else:
        yield NamedVariable(layer.gamma, weights)
        yield NamedVariable(layer.beta, biases)


def _attribute(owner, path: str) -> Any:
    return operator.attrgetter(path)(owner) if path else owner


def _expand_braces(name: str) -> tuple[str, ...]:
    """Return `("a.b", "a.c")` for "a.{b,c}"."""
    head, _, rest = name.partition("{")
    options, _, tail = rest.partition("}")
    return tuple(head + option + tail for option in options.split(","))
