"""The functions of a served pair classifier: a statement and two images in, True or False out."""

import tensorflow as tf

from lxmert_tf.serving.scene_module import SceneModule, shared_graph
from lxmert_tf.tasks.pair_classification import LxmertPairClassifier


class PairModule(SceneModule):
    """Judges statements about two images; the statement is what is called the question.

    Args:
        model: an `LxmertPairClassifier`; see `SceneModule`, also for the other arguments.
    """

    _model: LxmertPairClassifier

    def __init__(self, model: LxmertPairClassifier, max_length: int = 20, top_k: int = 5):
        super().__init__(model, max_length, top_k)
        features, boxes, _ = self._region_specs()
        regions = {
            "region_features": features,
            "region_boxes": boxes,
            "region_mask": tf.TensorSpec([None, 2, None], tf.int32),
        }
        self._judge = shared_graph(self._judged, tf.TensorSpec([None], tf.string), regions)

    def probabilities(self, question, regions):
        """One of both is right: the softmax of the logits."""
        return self._judge(question, regions)

    def _judged(self, question, regions):
        text = self._preprocessor(question)
        return tf.nn.softmax(self._model({**text, **regions}, output_attentions=False))
