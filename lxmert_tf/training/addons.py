"""What comes from TensorFlow Addons: LAMB. Nothing else of the library needs that package."""

import warnings

from lxmert_tf.errors import InputError


def lamb(learning_rate, weight_decay: float, clip_norm: float):
    """LAMB (You et al. 2020, arXiv 1904.00962), Adam's update scaled to each variable's norm.

    Args:
        learning_rate: a float or a schedule.
        weight_decay: decoupled; not of biases and LayerNorms, which are not scaled either (the
            paper's BERT recipe).
        clip_norm: the most that the global norm of the gradients may be.

    Returns:
        a Keras optimizer (of the legacy kind: TensorFlow Addons knows no other).

    Raises:
        InputError: TensorFlow Addons is not installed; it supports TensorFlow up to 2.15.
    """
    try:
        with warnings.catch_warnings():
            # It announces its end of life at every import.
            warnings.simplefilter("ignore", UserWarning)
            import tensorflow_addons
    except ImportError as error:
        raise InputError(
            "the optimizer 'lamb' needs tensorflow-addons: pip install 'lxmert-tf[addons]' "
            "(TensorFlow up to 2.15)"
        ) from error
    return tensorflow_addons.optimizers.LAMB(
        learning_rate,
        weight_decay=weight_decay,
        exclude_from_weight_decay=["bias", "norm", "gamma", "beta"],
        global_clipnorm=clip_norm,
    )
