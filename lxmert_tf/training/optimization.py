"""BERT's optimizer and learning-rate schedule, and LAMB."""

import warnings

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.errors import InputError


@keras.utils.register_keras_serializable("lxmert_tf")
class BertAdamW(keras.optimizers.Optimizer):
    """Adam without bias correction and with decoupled weight decay, as BERT's authors published it.

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= rate (m / (sqrt(v) + epsilon) + decay w)

    Gradients are summed over replicas and then clipped to a global norm. (The update of
    google-research/bert's AdamWeightDecayOptimizer and of the LXMERT release's BertAdam.)

    Args:
        learning_rate: A float or a schedule.
        decay: Weight decay of every parameter, LayerNorms and biases included, as in the release.
        clip_norm: Largest global norm of the gradients; None for no clipping.
        beta_1: Decay rate of the first moment.
        beta_2: Decay rate of the second moment.
        epsilon: Added to the root of the second moment.
        name: Name of the optimizer.
        **kwargs: See `keras.optimizers.Optimizer`.

    Example:
        from lxmert_tf import BertAdamW, WarmupLinearDecay

        optimizer = BertAdamW(WarmupLinearDecay(1e-4, total_steps=10_000, warmup=0.1))
    """

    def __init__(
        self,
        learning_rate=1e-4,
        decay: float = 0.01,
        clip_norm: float | None = 1.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        name: str = "bert_adamw",
        **kwargs,
    ):
        super().__init__(name=name, global_clipnorm=clip_norm, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.decay = decay
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self._norm = _GradientNorm()

    @property
    def gradient_norm(self) -> float:
        """Global norm of the last step's gradients, over all replicas and before clipping."""
        return float(self._norm.value.numpy())

    def build(self, var_list):
        """Make the moments of the variables."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._first = [self.add_variable_from_reference(v, "m") for v in var_list]
        self._second = [self.add_variable_from_reference(v, "v") for v in var_list]
        self._built = True

    def _clip_gradients(self, grads):
        # The gradient of an embedding table comes as slices, one per word. Keras would take the
        # norm before it adds slices of the same row, which is not the norm of the gradient.
        grads = [tf.convert_to_tensor(gradient) for gradient in grads]
        norm = tf.linalg.global_norm(grads)
        self._norm.value.assign(norm)
        if self.global_clipnorm is None:
            return grads
        return tf.clip_by_global_norm(grads, self.global_clipnorm, use_norm=norm)[0]

    def update_step(self, gradient, variable):
        """Update one variable."""
        rate = tf.cast(self.learning_rate, variable.dtype)
        index = self._index_dict[self._var_key(variable)]
        if self.decay:
            variable.assign_sub(rate * self.decay * variable)
        # Adam in one kernel. With powers of zero its bias correction is a factor of one.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._first[index].handle,
            v=self._second[index].handle,
            beta1_power=0.0,
            beta2_power=0.0,
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

    def get_config(self):
        """Return the constructor's arguments."""
        config = super().get_config()
        clip_norm = config.pop("global_clipnorm")
        # The base class's names for what has other names here.
        for unused in ("weight_decay", "clipnorm", "clipvalue"):
            config.pop(unused)
        return {
            **config,
            "learning_rate": self._serialize_hyperparameter(self._learning_rate),
            "decay": self.decay,
            "clip_norm": clip_norm,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make an optimizer from what `get_config` returned."""
        # HDF5 files name the schedule without its package.
        schedules = {"WarmupLinearDecay": WarmupLinearDecay}
        return super().from_config(config, {**schedules, **(custom_objects or {})})


class _GradientNorm:
    """Holds a variable that is not part of the optimizer's checkpoints."""

    def __init__(self):
        # Gradients are already summed over replicas, so any replica's norm will do.
        with tf.init_scope():
            self.value = tf.Variable(
                0.0,
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                name="gradient_norm",
            )


@keras.utils.register_keras_serializable("lxmert_tf")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """BERT's schedule: a linear rise to the peak, then a linear fall to zero.

    Step t, counted from 0, uses the rate at t / total_steps, so the first step's rate is zero.

    Args:
        peak: Learning rate at the end of the warm-up.
        total_steps: Steps until the rate is zero again.
        warmup: Share of the steps in which the rate rises.

    Example:
        from lxmert_tf import WarmupLinearDecay

        rate = WarmupLinearDecay(1e-4, total_steps=10_000, warmup=0.1)(500)
    """

    def __init__(self, peak: float, total_steps: int, warmup: float):
        self.peak = peak
        self.total_steps = total_steps
        self.warmup = warmup

    def __call__(self, step):
        progress = tf.cast(step, tf.float32) / self.total_steps
        rising = progress / max(self.warmup, 1e-9)
        falling = tf.maximum((1.0 - progress) / max(1.0 - self.warmup, 1e-9), 0.0)
        return self.peak * tf.where(progress < self.warmup, rising, falling)

    def get_config(self):
        """Return the constructor's arguments."""
        return {"peak": self.peak, "total_steps": self.total_steps, "warmup": self.warmup}


def lamb(learning_rate, weight_decay: float, clip_norm: float, beta_2: float):
    """Make a LAMB optimizer: Adam with each update scaled to its variable's norm.

    You et al. 2020, arXiv 1904.00962.

    Args:
        learning_rate: A float or a schedule.
        weight_decay: Decoupled weight decay. Biases and LayerNorms are neither decayed nor scaled
            (the paper's recipe for BERT).
        clip_norm: Largest global norm of the gradients.
        beta_2: Decay rate of the second moment.

    Returns:
        A Keras optimizer, of the legacy kind, because TensorFlow Addons has no other.

    Raises:
        InputError: TensorFlow Addons is not installed; it supports TensorFlow up to 2.15.
    """
    try:
        with warnings.catch_warnings():
            # TensorFlow Addons announces its end of life at every import.
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
        beta_2=beta_2,
        exclude_from_weight_decay=["bias", "norm", "gamma", "beta"],
        global_clipnorm=clip_norm,
    )
