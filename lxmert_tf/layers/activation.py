"""Activations by the names of a model config."""

import tensorflow as tf
from tensorflow import keras


@keras.utils.register_keras_serializable("lxmert_tf")
def gelu(hidden):
    """GELU in its exact (erf) form, as the release computes it."""
    return tf.nn.gelu(hidden, approximate=False)


def activation(name: str):
    """The function that a config's `hidden_act` names (validated by `LxmertConfig`)."""
    return gelu if name == "gelu" else keras.activations.get(name)
