"""The heads on regions: res5 and the mean, which gives the features, and the classifiers."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.detector.backbone import STRIDE, Bottleneck
from lxmert_tf.detector.roi_pooling import (
    distinct_windows,
    pool_bins,
    pool_windows,
    region_bins,
    window_maxima,
)
from lxmert_tf.detector.winograd import convolve, transform_kernel
from lxmert_tf.layers.dense import build_sublayer

# Regions whose equal bins are computed once. Most bins of a picture's 300 regions are equal, but if
# none were, each region would need 4 MB.
REGIONS_AT_ONCE = 300
# Regions that pass res5 together. At published size each needs about 8 MB for its maps.
REGIONS_PER_STEP = 30
# Distance of the cells of the 3 x 3 kernels.
DILATION = 2


@keras.utils.register_keras_serializable("lxmert_tf")
class RegionFeatures(keras.layers.Layer):
    """RoIPool, the blocks of res5 with dilated convolutions, and the mean over the cells.

    Args:
        inner_filters: Channels of the first two convolutions of each block.
        filters: Channels of the output, the width F of the features.
        num_blocks: Blocks of res5.
        grid: Cells per side that each region is pooled to.
        epsilon: Epsilon of the batch normalizations.

    Call arguments:
        maps: [B, H, W, C].
        map_sizes: int32 [B, 2], height and width of each map without padding.
        proposals: float32 [B, P, 4], x1, y1, x2, y2 in pixels of the resized pictures.
        counts: int32 [B], number of proposals of each picture; the others are not computed.

    Returns:
        float32 [B, P, F], with zeros for absent proposals.
    """

    def __init__(
        self,
        inner_filters: int,
        filters: int,
        num_blocks: int = 3,
        grid: int = 14,
        epsilon: float = 1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.inner_filters = inner_filters
        self.filters = filters
        self.num_blocks = num_blocks
        self.grid = grid
        self.epsilon = epsilon
        self.blocks = [
            Bottleneck(
                inner_filters,
                filters,
                dilation=DILATION,
                shortcut=i == 0,
                epsilon=epsilon,
                dtype=self.dtype_policy,
                name=f"res5_{i}",
            )
            for i in range(num_blocks)
        ]

    def build(self, input_shape):
        shape = [None, self.grid, self.grid, input_shape[-1]]
        for block in self.blocks:
            build_sublayer(block, shape)
            shape[-1] = self.filters
        super().build(input_shape)

    def call(self, maps, map_sizes, proposals, counts):
        present = tf.sequence_mask(counts, tf.shape(proposals)[1])
        places = tf.cast(tf.where(present), tf.int32)
        boxes = tf.cast(tf.gather_nd(proposals, places), tf.float32)
        region_maps = places[:, 0]
        bins = region_bins(boxes, tf.gather(map_sizes, region_maps), self.grid, STRIDE)
        tables = window_maxima(maps, bins)
        if self.compute_dtype == "float32" and self.grid % DILATION == 0:
            blocks = [_folded(block) for block in self.blocks]
            features = _in_parts(
                lambda part: self._shared(tables, region_maps[part], bins[part], blocks),
                tf.shape(boxes)[0],
                REGIONS_AT_ONCE,
                self.filters,
            )
        else:
            features = _in_parts(
                lambda part: self._res5(pool_bins(tables, region_maps[part], bins[part])),
                tf.shape(boxes)[0],
                REGIONS_PER_STEP,
                self.filters,
            )
        shape = tf.concat([tf.shape(present), [self.filters]], axis=0)
        return tf.scatter_nd(places, features, shape)

    def _res5(self, pooled):
        for block in self.blocks:
            pooled = block(pooled)
        return tf.reduce_mean(tf.cast(pooled, tf.float32), axis=[1, 2])

    def _shared(self, tables, region_maps, bins, blocks):
        """Return the features of regions, computing the first products of equal bins once.

        Cells come before regions, as `convolve` expects: first the rows and columns of the maps
        that a dilated convolution falls into, then the number of the map.
        """
        side = self.grid // DILATION
        shape = [-1, side, DILATION, 2]
        rows, columns = (
            tf.transpose(tf.reshape(bins[:, axis], shape), [1, 2, 0, 3]) for axis in (0, 1)
        )
        rows, columns = rows[:, tf.newaxis, :, tf.newaxis], columns[tf.newaxis, :, tf.newaxis]
        windows, places = distinct_windows(tables, region_maps, rows, columns)
        places = tf.reshape(places, [self.grid**2, -1])
        pooled = pool_windows(tables, *windows)
        first = blocks[0]
        hidden = tf.nn.relu(_dense(pooled, *first["conv1"]))
        residual = _dense(pooled, *first["shortcut"])

        def compute(part):
            cells = tf.reshape(places[:, part], [-1])
            maps = self._finish(tf.gather(hidden, cells), tf.gather(residual, cells), first)
            for block in blocks[1:]:
                maps = self._finish(tf.nn.relu(_dense(maps, *block["conv1"])), maps, block)
            return tf.reduce_mean(tf.reshape(maps, [self.grid**2, -1, self.filters]), axis=0)

        return _in_parts(compute, tf.shape(places)[1], REGIONS_PER_STEP, self.filters)

    def _finish(self, hidden, residual, block):
        """Return the output of a block after its first convolution: [grid * grid * N, filters]."""
        side = self.grid // DILATION
        hidden = tf.reshape(hidden, [side * side, -1, self.inner_filters])
        kernel, bias = block["conv2"]
        hidden = tf.nn.relu(tf.nn.bias_add(convolve(hidden, kernel, side), bias))
        hidden = tf.reshape(hidden, [-1, self.inner_filters])
        return tf.nn.relu(_dense(hidden, *block["conv3"]) + residual)

    def compute_output_shape(self, input_shape, sizes_shape=None, proposals_shape=None):
        """Return the shape of the features."""
        proposals = None if proposals_shape is None else proposals_shape[1]
        return tf.TensorShape([tf.TensorShape(input_shape)[0], proposals, self.filters])

    def get_config(self):
        return {
            **super().get_config(),
            "inner_filters": self.inner_filters,
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "grid": self.grid,
            "epsilon": self.epsilon,
        }


def _folded(block: Bottleneck) -> dict:
    """Return the kernels and biases of a block as matrix products expect them."""
    weights = {}
    for name in ("conv1", "conv2", "conv3", "shortcut"):
        layer = getattr(block, name)
        if layer is not None:
            kernel, bias = layer.folded()
            kernel = transform_kernel(kernel) if name == "conv2" else kernel[0, 0]
            weights[name] = kernel, bias
    return weights


def _dense(rows, kernel, bias):
    return tf.nn.bias_add(tf.matmul(rows, kernel), bias)


def _in_parts(compute: Callable, count, size: int, width: int):
    """Return rows [count, width] that a function of a slice gives, at most `size` at a time."""

    def step(start, rows):
        part = compute(slice(start, start + size))
        return start + size, tf.concat([rows, part], axis=0)

    # The first axis grows.
    start = (tf.constant(0), tf.zeros([0, width]))
    shapes = (tf.TensorShape([]), tf.TensorShape([None, width]))
    loop = tf.while_loop(lambda i, _: i < count, step, start, shapes, parallel_iterations=1)
    return loop[1]


@keras.utils.register_keras_serializable("lxmert_tf")
class RegionClassifier(keras.layers.Layer):
    """Logits of objects and attributes, and box deltas for each class of objects.

    Attributes depend on the features and on the most probable class, which may be the background.

    Args:
        num_objects: Object classes K.
        num_attributes: Attribute classes A.
        embedding_size: Width of the embedding of the most probable class.
        hidden_size: Width of the layer before the attributes.

    Call arguments:
        features: [B, P, F].

    Returns:
        Object logits [B, P, K + 1] and attribute logits [B, P, A + 1], background last, and box
        deltas [B, P, K, 4]; all float32.
    """

    def __init__(
        self,
        num_objects: int,
        num_attributes: int,
        embedding_size: int = 256,
        hidden_size: int = 512,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_objects = num_objects
        self.num_attributes = num_attributes
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        policy = self.dtype_policy

        def dense(units: int, name: str, stddev: float = 0.01, activation=None):
            initializer = keras.initializers.RandomNormal(stddev=stddev)
            return keras.layers.Dense(
                units, activation, kernel_initializer=initializer, dtype=policy, name=name
            )

        self.objects = dense(num_objects + 1, "objects")
        self.box_deltas = dense(4 * num_objects, "box_deltas", stddev=0.001)
        self.class_embedding = keras.layers.Embedding(
            num_objects + 1, embedding_size, dtype=policy, name="class_embedding"
        )
        self.attribute_hidden = dense(hidden_size, "attribute_hidden", activation="relu")
        self.attributes = dense(num_attributes + 1, "attributes")

    def build(self, input_shape):
        lead = input_shape[:-1]
        build_sublayer(self.objects, input_shape)
        build_sublayer(self.box_deltas, input_shape)
        build_sublayer(self.class_embedding, lead)
        build_sublayer(self.attribute_hidden, [*lead, input_shape[-1] + self.embedding_size])
        build_sublayer(self.attributes, [*lead, self.hidden_size])
        super().build(input_shape)

    def call(self, features):
        objects = tf.cast(self.objects(features), tf.float32)
        embedding = self.class_embedding(tf.argmax(objects, axis=-1, output_type=tf.int32))
        hidden = self.attribute_hidden(
            tf.concat([features, tf.cast(embedding, features.dtype)], axis=-1)
        )
        attributes = tf.cast(self.attributes(hidden), tf.float32)
        deltas = tf.cast(self.box_deltas(features), tf.float32)
        shape = tf.concat([tf.shape(deltas)[:-1], [self.num_objects, 4]], axis=0)
        return objects, attributes, tf.reshape(deltas, shape)

    def compute_output_shape(self, input_shape):
        lead = tf.TensorShape(input_shape)[:-1]
        sizes = ([self.num_objects + 1], [self.num_attributes + 1], [self.num_objects, 4])
        return tuple(lead.concatenate(size) for size in sizes)

    def get_config(self):
        return {
            **super().get_config(),
            "num_objects": self.num_objects,
            "num_attributes": self.num_attributes,
            "embedding_size": self.embedding_size,
            "hidden_size": self.hidden_size,
        }
