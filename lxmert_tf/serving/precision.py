"""A model's twin whose weights are kept in another precision."""

import tensorflow as tf

from lxmert_tf.presets import PresetModel


def in_precision(model: PresetModel, precision: str) -> PresetModel:
    """The same model with weights of `precision`.

    Products are rounded as under Keras' policy mixed_bfloat16, which casts every weight in every
    call; a twin in bfloat16 has cast them once, and is half as large.

    Args:
        model: of any policy.
        precision: "float32" or "bfloat16", a Keras policy. LayerNorms stay float32.
    """
    twin = type(model).from_config({**model.get_config(), "dtype": precision})
    for ours, theirs in zip(twin.variables, model.variables, strict=True):
        ours.assign(tf.cast(theirs, ours.dtype))
    return twin
