"""The region proposal network (Ren et al. 2015): its head, and the choice of proposals."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.detector.backbone import STRIDE, zero_padding
from lxmert_tf.detector.boxes import (
    anchor_grid,
    caffe_anchors,
    centered_anchors,
    clip_boxes,
    decode_boxes,
)
from lxmert_tf.detector.suppression import suppress_boxes
from lxmert_tf.layers.dense import build_sublayer


@keras.utils.register_keras_serializable("lxmert_tf")
class ProposalHead(keras.layers.Layer):
    """A 3 x 3 convolution, then a logit and four deltas for each anchor.

    Args:
        filters: Channels of the 3 x 3 convolution.
        num_anchors: Anchors A at each place of the map.

    Call arguments:
        maps: [B, H, W, C].
        sizes: int32 [B, 2], height and width of each map without padding.

    Returns:
        Logits [B, H, W, A], high where an anchor holds an object, and deltas [B, H, W, 4 A] with
        channels 4 anchor + (dx, dy, dw, dh); both float32.
    """

    def __init__(self, filters: int, num_anchors: int, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.num_anchors = num_anchors
        self.conv = self._convolution(filters, 3, "conv", activation="relu")
        self.logits = self._convolution(num_anchors, 1, "logits")
        self.deltas = self._convolution(4 * num_anchors, 1, "deltas")

    def _convolution(self, filters: int, kernel_size: int, name: str, activation=None):
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            activation=activation,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        inner_shape = [*input_shape[:-1], self.filters]
        build_sublayer(self.conv, input_shape)
        build_sublayer(self.logits, inner_shape)
        build_sublayer(self.deltas, inner_shape)
        super().build(input_shape)

    def call(self, maps, sizes):
        hidden = self.conv(zero_padding(maps, sizes))
        return tf.cast(self.logits(hidden), tf.float32), tf.cast(self.deltas(hidden), tf.float32)

    def compute_output_shape(self, input_shape, sizes_shape=None):
        """Return the shapes of logits and deltas."""
        lead = tf.TensorShape(input_shape)[:-1]
        return tuple(lead.concatenate(n * self.num_anchors) for n in (1, 4))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_anchors": self.num_anchors,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class ProposalSelection(keras.layers.Layer):
    """The most probable anchors, moved by their deltas, that do not overlap too much.

    The anchors are weights, because a checkpoint has its own. Each flavor has its convention.

    Args:
        anchor_sizes: Square roots of the anchors' areas.
        anchor_ratios: Heights of the anchors divided by their widths.
        most_compared: Most boxes that are compared with each other.
        most: Most proposals.
        threshold: Overlap above which the less probable of two boxes is dropped.
        smallest: Least width and height of a proposal in the original picture; flavor "caffe" only.
        flavor: "hf" or "caffe".

    Call arguments:
        logits: float32 [B, H, W, A].
        deltas: float32 [B, H, W, 4 A].
        map_sizes: int32 [B, 2], height and width of each map without padding.
        image_sizes: int32 [B, 2], height and width of each picture without padding.
        scales: float32 [B, 2], pixels of the resized picture per pixel of the original, y and x.

    Returns:
        Proposals float32 [B, P, 4], the most probable first, and their numbers int32 [B]. P is the
        largest of the numbers; other rows end with zeros.
    """

    def __init__(
        self,
        anchor_sizes: Sequence[float],
        anchor_ratios: Sequence[float],
        most_compared: int = 6000,
        most: int = 300,
        threshold: float = 0.7,
        smallest: int = 16,
        flavor: str = "hf",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.anchor_sizes = list(anchor_sizes)
        self.anchor_ratios = list(anchor_ratios)
        self.most_compared = most_compared
        self.most = most
        self.threshold = threshold
        self.smallest = smallest
        self.flavor = flavor

    def build(self, input_shape):
        for name, make in (("hf_anchors", centered_anchors), ("caffe_anchors", caffe_anchors)):
            anchors = make(self.anchor_sizes, self.anchor_ratios)
            weight = self.add_weight(
                name=name,
                shape=anchors.shape,
                dtype=tf.float32,
                initializer=keras.initializers.Constant(anchors),
                trainable=False,
                experimental_autocast=False,
            )
            setattr(self, name, weight)
        super().build(input_shape)

    def call(self, logits, deltas, map_sizes, image_sizes, scales):
        inclusive = self.flavor == "caffe"
        logits, deltas = tf.cast(logits, tf.float32), tf.cast(deltas, tf.float32)
        batch, height, width = tf.unstack(tf.shape(logits)[:3])
        scores = tf.reshape(_without_padding(logits, map_sizes), [batch, -1])
        if inclusive:
            # Caffe sorts by the probability, which is 1 for all large logits.
            scores = tf.where(scores > -np.inf, tf.sigmoid(scores), -np.inf)
        cell_anchors = self.caffe_anchors if inclusive else self.hf_anchors
        anchors = anchor_grid(cell_anchors, height, width, STRIDE)
        deltas = tf.reshape(deltas, [batch, -1, 4])
        if inclusive:
            # Too small boxes are dropped before the best are taken, so all must be decoded.
            boxes = clip_boxes(decode_boxes(anchors, deltas, inclusive=True), image_sizes, True)
            least = self.smallest * scales[:, tf.newaxis, ::-1]
            large = tf.reduce_all(boxes[..., 2:] - boxes[..., :2] + 1.0 >= least, axis=-1)
            scores = tf.where(large, scores, -np.inf)
            scores, best = self._best(scores, self.most_compared)
            boxes = tf.gather(boxes, best, batch_dims=1)
        else:
            scores, best = self._best(scores, self.most_compared)
            deltas = tf.gather(deltas, best, batch_dims=1)
            boxes = clip_boxes(decode_boxes(tf.gather(anchors, best), deltas), image_sizes)
            full = tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1)
            scores = tf.where(full, scores, -np.inf)
        kept = suppress_boxes(boxes, scores, self.threshold, self.most, inclusive)
        scores, best = self._best(tf.where(kept, scores, -np.inf), self.most)
        present = scores > -np.inf
        counts = tf.reduce_sum(tf.cast(present, tf.int32), axis=-1)
        boxes = tf.where(present[..., tf.newaxis], tf.gather(boxes, best, batch_dims=1), 0.0)
        return boxes[:, : tf.reduce_max(counts)], counts

    @staticmethod
    def _best(scores, most: int):
        """Return the highest scores, in descending order, and their indices."""
        return tf.math.top_k(scores, tf.minimum(most, tf.shape(scores)[-1]))

    def compute_output_shape(self, input_shape, *other_shapes):
        """Return the shapes of the proposals and of their numbers."""
        batch = tf.TensorShape(input_shape)[0]
        return tf.TensorShape([batch, None, 4]), tf.TensorShape([batch])

    def get_config(self):
        return {
            **super().get_config(),
            "anchor_sizes": self.anchor_sizes,
            "anchor_ratios": self.anchor_ratios,
            "most_compared": self.most_compared,
            "most": self.most,
            "threshold": self.threshold,
            "smallest": self.smallest,
            "flavor": self.flavor,
        }


def _without_padding(logits, sizes):
    """Return logits [B, H, W, A] with minus infinity where the map is padding."""
    rows = tf.range(tf.shape(logits)[1]) < sizes[:, :1]
    columns = tf.range(tf.shape(logits)[2]) < sizes[:, 1:]
    inside = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
    return tf.where(inside[..., tf.newaxis], logits, -np.inf)
