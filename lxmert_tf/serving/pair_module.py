"""The functions of a served pair classifier: a statement and two images in, True or False out."""

import tensorflow as tf

from lxmert_tf.serving.scene_module import SceneModule
from lxmert_tf.tasks.pair_classification import LxmertPairClassifier


class PairModule(SceneModule):
    """Judges statements about two images; the statement is what is called the question.

    Args:
        model: an `LxmertPairClassifier`; see `SceneModule`, also for the other arguments.
    """

    _model: LxmertPairClassifier

    def probabilities(self, text, regions):
        """One of both is right: the softmax of the logits."""
        return tf.nn.softmax(self._model({**text, **regions}, output_attentions=False))
