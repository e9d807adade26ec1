"""Which variable of our models is which tensor of the PyTorch release (`*_LXRT.pth`).

The release stores a product's kernel as [out, in], we as [in, out]; and it stores queries, keys
and values apart, where we have one kernel of [in, 3 out].
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class NamedVariable:
    """A variable and the tensors of the release that it is made of.

    Args:
        variable: ours.
        names: the release's names; several are laid side by side along the last axis.
        transposed: whether the release's tensors are [out, in].
    """

    variable: tf.Variable
    names: tuple[str, ...]
    transposed: bool = False

    def join(self, tensors: dict[str, np.ndarray]) -> np.ndarray:
        """Our value, from the release's tensors by name."""
        parts = [tensors[name].T if self.transposed else tensors[name] for name in self.names]
        return np.concatenate(parts, axis=-1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the release's tensors by name."""
        *lead, last = self.variable.shape.as_list()
        shape = (*lead, last // len(self.names))
        return {name: shape[::-1] if self.transposed else shape for name in self.names}

    def split(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """The release's tensors by name, from our value."""
        parts = np.split(value, len(self.names), axis=-1)
        return dict(zip(self.names, (part.T if self.transposed else part for part in parts)))


def model_variables(model) -> Iterator[NamedVariable]:
    """The variables of any of the library's models."""
    if hasattr(model, "masked_lm_head"):
        yield from pretrainer_variables(model)
    elif hasattr(model, "answer_head"):
        yield from backbone_variables(model.backbone)
        yield from answer_head_variables(model.answer_head)
    else:
        yield from backbone_variables(model)


def backbone_variables(backbone) -> Iterator[NamedVariable]:
    """The variables of an `LxmertBackbone`."""
    yield from language_variables(backbone.language_encoder)

    vision = backbone.relationship_encoder
    prefix = "bert.encoder.visn_fc"
    yield from _dense(vision.embeddings.feature_projection, f"{prefix}.visn_fc")
    yield from _norm(vision.embeddings.feature_norm, f"{prefix}.visn_layer_norm")
    yield from _dense(vision.embeddings.box_projection, f"{prefix}.box_fc")
    yield from _norm(vision.embeddings.box_norm, f"{prefix}.box_layer_norm")
    for i, layer in enumerate(vision.transformer_layers):
        yield from _transformer_layer(layer, f"bert.encoder.r_layers.{i}")

    for i, layer in enumerate(backbone.cross_modality_encoder.transformer_layers):
        prefix = f"bert.encoder.x_layers.{i}"
        cross = f"{prefix}.visual_attention"
        yield from _attention(layer.cross_attention, f"{cross}.att", f"{cross}.output")
        for side, attention, feed_forward in (
            ("lang", layer.language_self_attention, layer.language_feed_forward),
            ("visn", layer.vision_self_attention, layer.vision_feed_forward),
        ):
            own = f"{prefix}.{side}_self_att"
            yield from _attention(attention, f"{own}.self", f"{own}.output")
            inner, outer = f"{prefix}.{side}_inter", f"{prefix}.{side}_output"
            yield from _feed_forward(feed_forward, inner, outer)

    yield from pooler_variables(backbone.pooler)


def pooler_variables(pooler) -> Iterator[NamedVariable]:
    """The variables of a `Pooler`; a BERT has them, too."""
    yield from _dense(pooler.dense, "bert.pooler.dense")


def language_variables(encoder) -> Iterator[NamedVariable]:
    """The variables of a `LanguageEncoder`: those that a BERT has, too."""
    embeddings = encoder.embeddings
    for variable, name in (
        (embeddings.word_embeddings, "word_embeddings"),
        (embeddings.position_embeddings, "position_embeddings"),
        (embeddings.segment_embeddings, "token_type_embeddings"),
    ):
        yield NamedVariable(variable, (f"bert.embeddings.{name}.weight",))
    yield from _norm(embeddings.norm, "bert.embeddings.LayerNorm")
    for i, layer in enumerate(encoder.transformer_layers):
        yield from _transformer_layer(layer, f"bert.encoder.layer.{i}")


def pretrainer_variables(pretrainer) -> Iterator[NamedVariable]:
    """The variables of an `LxmertPretrainer`: backbone and heads."""
    yield from backbone_variables(pretrainer.backbone)
    masked_lm = pretrainer.masked_lm_head
    prefix = "cls.predictions"
    yield from _transform(masked_lm, f"{prefix}.transform.dense", f"{prefix}.transform.LayerNorm")
    yield NamedVariable(masked_lm.output_bias, (f"{prefix}.bias",))
    yield from _dense(pretrainer.matched_head, "cls.seq_relationship")
    regions = pretrainer.region_head
    prefix = "obj_predict_head"
    yield from _transform(regions, f"{prefix}.transform.dense", f"{prefix}.transform.LayerNorm")
    yield from _dense(regions.objects, f"{prefix}.decoder_dict.obj")
    yield from _dense(regions.attributes, f"{prefix}.decoder_dict.attr")
    yield from _dense(regions.features, f"{prefix}.decoder_dict.feat")
    yield from answer_head_variables(pretrainer.answer_head)


def answer_head_variables(head, prefix: str = "answer_head.logit_fc") -> Iterator[NamedVariable]:
    """The variables of an `AnswerHead`; the release's fine-tuned models say `logit_fc`."""
    yield from _transform(head, f"{prefix}.0", f"{prefix}.2")
    yield from _dense(head.answers, f"{prefix}.3")


def _dense(dense, name: str) -> Iterator[NamedVariable]:
    yield NamedVariable(dense.kernel, (f"{name}.weight",), transposed=True)
    yield NamedVariable(dense.bias, (f"{name}.bias",))


def _norm(norm, name: str) -> Iterator[NamedVariable]:
    yield NamedVariable(norm.float32.gamma, (f"{name}.weight",))
    yield NamedVariable(norm.float32.beta, (f"{name}.bias",))


def _transform(head, dense_name: str, norm_name: str) -> Iterator[NamedVariable]:
    yield from _dense(head.transform, dense_name)
    yield from _norm(head.transform_norm, norm_name)


def _attention(attention, inner: str, output: str) -> Iterator[NamedVariable]:
    names = [f"{inner}.{part}" for part in ("query", "key", "value")]
    fused = attention.query_key_value
    yield NamedVariable(fused.kernel, tuple(f"{name}.weight" for name in names), transposed=True)
    yield NamedVariable(fused.bias, tuple(f"{name}.bias" for name in names))
    yield from _dense(attention.output_projection, f"{output}.dense")
    yield from _norm(attention.residual_norm.norm, f"{output}.LayerNorm")


def _feed_forward(feed_forward, inner: str, output: str) -> Iterator[NamedVariable]:
    yield from _dense(feed_forward.intermediate, f"{inner}.dense")
    yield from _dense(feed_forward.output_projection, f"{output}.dense")
    yield from _norm(feed_forward.residual_norm.norm, f"{output}.LayerNorm")


def _transformer_layer(layer, prefix: str) -> Iterator[NamedVariable]:
    attention = f"{prefix}.attention"
    yield from _attention(layer.self_attention, f"{attention}.self", f"{attention}.output")
    yield from _feed_forward(layer.feed_forward, f"{prefix}.intermediate", f"{prefix}.output")
