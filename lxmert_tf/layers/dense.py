"""Dense layers as BERT initializes them, and the activations that a model config names."""

import tensorflow as tf
from tensorflow import keras


@keras.utils.register_keras_serializable("lxmert_tf")
def gelu(hidden):
    """Return GELU in its exact (erf) form, as the release computes it."""
    return tf.nn.gelu(hidden, approximate=False)


def activation(name: str):
    """Return the function that `LxmertConfig.hidden_act` names."""
    return gelu if name == "gelu" else keras.activations.get(name)


def dense(
    units: int, initializer_range: float, hidden_act: str | None = None, **kwargs
) -> keras.layers.Dense:
    """Return a dense layer with a normal kernel and a zero bias.

    Args:
        units: Width of the output.
        initializer_range: Standard deviation of the kernel.
        hidden_act: Name of the activation; None for a linear layer.
        **kwargs: `name` and `dtype` of the layer.
    """
    return keras.layers.Dense(
        units,
        activation=activation(hidden_act) if hidden_act else None,
        kernel_initializer=keras.initializers.RandomNormal(stddev=initializer_range),
        **kwargs,
    )


def build_sublayer(layer: keras.layers.Layer, input_shape) -> None:
    """Build a layer inside another layer's `build`, with variable names that say where it is."""
    with tf.name_scope(layer.name):
        layer.build(input_shape)
