"""An optimizer's variables, made before its first step."""

from tensorflow import keras


def build_optimizer(optimizer, variables) -> None:
    """Makes an optimizer's variables before its first step, those of idle heads too."""
    if isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        # What its first step would do; there is no public way to ask for it.
        optimizer._create_all_weights(variables)
    else:
        optimizer.build(variables)
