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
        mask = tf.TensorSpec([None, 2, None], tf.int32)
        self._judge = shared_graph(
            self._judged, tf.TensorSpec([None], tf.string), features, boxes, mask
        )

    def probabilities(self, question, regions):
        """One of both is right: the softmax of the logits."""
        names = ("region_features", "region_boxes", "region_mask")
        return self._judge(question, *(regions[name] for name in names))

    def _judged(self, question, features, boxes, mask):
        text = self._preprocessor(question)
        regions = {"region_features": features, "region_boxes": boxes, "region_mask": mask}
        return tf.nn.softmax(self._model({**text, **regions}, output_attentions=False))
