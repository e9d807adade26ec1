"""ResNet C4 (He et al. 2016), as caffe's detectors use it: the stem and the residual blocks.

Feature maps of a batch of pictures of different sizes are padded right and below. Before each
convolution that looks at neighbors the padding is set to zero, as the border of a single picture
is, so a picture gives the same numbers alone and in a batch.
"""

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.layers.dense import build_sublayer

# Pixels of the picture per cell of the map that proposals and regions are taken from.
STRIDE = 16


@keras.utils.register_keras_serializable("lxmert_tf")
class ConvNorm(keras.layers.Layer):
    """Convolution without a bias, batch normalization by stored statistics, and ReLU.

    The normalization is folded into the kernel, so that maps are read and written once. Keras's own
    layer would do so only with an epsilon of at least 1.001e-5, and the reference has 1e-5.

    Args:
        filters: Channels of the output.
        kernel_size: Height and width of the kernel, an odd number. Padding is symmetric.
        strides: Step of the kernel.
        dilation: Distance of the kernel's cells.
        relu: Whether ReLU follows.
        epsilon: Added to the variance.

    Call arguments:
        maps: [B, H, W, C].

    Returns:
        [B, ceil(H / strides), ceil(W / strides), filters].
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        dilation: int = 1,
        relu: bool = True,
        epsilon: float = 1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.dilation = dilation
        self.relu = relu
        self.epsilon = epsilon

    def build(self, input_shape):
        # Float32 under every policy, because the kernel is scaled before it is cast.
        options = {"dtype": tf.float32, "experimental_autocast": False}
        self.kernel = self.add_weight(
            name="kernel",
            shape=[self.kernel_size, self.kernel_size, input_shape[-1], self.filters],
            initializer="he_normal",
            **options,
        )
        size = {"shape": [self.filters], **options}
        self.gamma = self.add_weight(name="gamma", initializer="ones", **size)
        self.beta = self.add_weight(name="beta", initializer="zeros", **size)
        self.moving_mean = self.add_weight(
            name="moving_mean", initializer="zeros", trainable=False, **size
        )
        self.moving_variance = self.add_weight(
            name="moving_variance", initializer="ones", trainable=False, **size
        )
        super().build(input_shape)

    def folded(self):
        """Return the kernel and the bias of the convolution with its normalization."""
        scale = self.gamma * tf.math.rsqrt(self.moving_variance + self.epsilon)
        kernel = tf.cast(self.kernel * scale, self.compute_dtype)
        bias = tf.cast(self.beta - self.moving_mean * scale, self.compute_dtype)
        return kernel, bias

    def call(self, maps):
        kernel, bias = self.folded()
        margin = self.dilation * (self.kernel_size - 1) // 2
        padding = "SAME"
        if self.strides > 1:
            # There TensorFlow's SAME is not symmetric.
            padding = "VALID"
            if margin:
                maps = tf.pad(maps, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
        maps = tf.nn.conv2d(maps, kernel, self.strides, padding, dilations=self.dilation)
        maps = tf.nn.bias_add(maps, bias)
        return tf.nn.relu(maps) if self.relu else maps

    def compute_output_shape(self, input_shape):
        batch, *sides, _ = tf.TensorShape(input_shape)
        return tf.TensorShape([batch, *_strided(sides, self.strides), self.filters])

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation": self.dilation,
            "relu": self.relu,
            "epsilon": self.epsilon,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class Stem(keras.layers.Layer):
    """A 7 x 7 convolution of stride 2, then the maximum of 3 x 3 with stride 2.

    As in caffe, the maximum has no padding and rounds its number of windows up.

    Args:
        filters: Channels of the output.
        epsilon: Epsilon of the batch normalization.

    Call arguments:
        images: [B, H, W, 3].
        image_sizes: int32 [B, 2], height and width of each picture without padding.

    Returns:
        [B, ceil(H / 2) // 2, ceil(W / 2) // 2, filters].
    """

    def __init__(self, filters: int, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.epsilon = epsilon
        self.conv1 = ConvNorm(
            filters, 7, strides=2, epsilon=epsilon, dtype=self.dtype_policy, name="conv1"
        )

    def build(self, input_shape):
        build_sublayer(self.conv1, input_shape)
        super().build(input_shape)

    def call(self, images, image_sizes):
        maps = self.conv1(zero_padding(images, image_sizes))
        return max_pool(zero_padding(maps, half(image_sizes)))

    def compute_output_shape(self, input_shape, sizes_shape=None):
        """Return the shape of the maps."""
        batch, *sides, _ = tf.TensorShape(input_shape)
        pooled = [None if n is None else max(n // 2, 1) for n in _strided(sides, 2)]
        return tf.TensorShape([batch, *pooled, self.filters])

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "epsilon": self.epsilon}


@keras.utils.register_keras_serializable("lxmert_tf")
class Bottleneck(keras.layers.Layer):
    """A residual block: 1 x 1, 3 x 3 and 1 x 1 convolutions, added to the input.

    Args:
        inner_filters: Channels of the first two convolutions.
        filters: Channels of the output.
        strides: Step of the first convolution and of the shortcut.
        dilation: Distance of the cells of the 3 x 3 kernel.
        shortcut: Whether the input passes a convolution before it is added.
        epsilon: Epsilon of the batch normalizations.

    Call arguments:
        maps: [B, H, W, C].
        sizes: int32 [B, 2], height and width of each output map without padding; None if there is
            no padding.

    Returns:
        [B, ceil(H / strides), ceil(W / strides), filters].
    """

    def __init__(
        self,
        inner_filters: int,
        filters: int,
        strides: int = 1,
        dilation: int = 1,
        shortcut: bool = False,
        epsilon: float = 1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.inner_filters = inner_filters
        self.filters = filters
        self.strides = strides
        self.dilation = dilation
        self.epsilon = epsilon
        options = {"epsilon": epsilon, "dtype": self.dtype_policy}
        self.conv1 = ConvNorm(inner_filters, 1, strides, name="conv1", **options)
        self.conv2 = ConvNorm(inner_filters, 3, dilation=dilation, name="conv2", **options)
        self.conv3 = ConvNorm(filters, 1, relu=False, name="conv3", **options)
        self.shortcut = None
        if shortcut:
            self.shortcut = ConvNorm(filters, 1, strides, relu=False, name="shortcut", **options)

    def build(self, input_shape):
        inner_shape = [*input_shape[:-1], self.inner_filters]
        build_sublayer(self.conv1, input_shape)
        build_sublayer(self.conv2, inner_shape)
        build_sublayer(self.conv3, inner_shape)
        if self.shortcut is not None:
            build_sublayer(self.shortcut, input_shape)
        super().build(input_shape)

    def call(self, maps, sizes=None):
        residual = maps if self.shortcut is None else self.shortcut(maps)
        maps = self.conv1(maps)
        if sizes is not None:
            maps = zero_padding(maps, sizes)
        return tf.nn.relu(self.conv3(self.conv2(maps)) + residual)

    def compute_output_shape(self, input_shape, sizes_shape=None):
        """Return the shape of the output maps."""
        batch, *sides, _ = tf.TensorShape(input_shape)
        return tf.TensorShape([batch, *_strided(sides, self.strides), self.filters])

    def get_config(self):
        return {
            **super().get_config(),
            "inner_filters": self.inner_filters,
            "filters": self.filters,
            "strides": self.strides,
            "dilation": self.dilation,
            "shortcut": self.shortcut is not None,
            "epsilon": self.epsilon,
        }


@keras.utils.register_keras_serializable("lxmert_tf")
class MapSizes(keras.layers.Layer):
    """The sizes of feature maps without padding.

    Args:
        stride: Pixels per cell of the map: 4, 8 or 16.

    Call arguments:
        image_sizes: int32 [B, 2], height and width of each picture.

    Returns:
        int32 [B, 2].
    """

    def __init__(self, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.stride = stride

    def call(self, image_sizes):
        sizes = tf.maximum(half(image_sizes) // 2, 1)
        for _ in range({4: 0, 8: 1, 16: 2}[self.stride]):
            sizes = half(sizes)
        return sizes

    def compute_output_shape(self, input_shape):
        return tf.TensorShape(input_shape)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride}


def zero_padding(maps, sizes):
    """Set the padding of feature maps to zero.

    Args:
        maps: [B, H, W, C].
        sizes: int32 [B, 2], height and width of each map without padding.

    Returns:
        [B, H, W, C].
    """
    height, width = tf.shape(maps)[1], tf.shape(maps)[2]
    rows = tf.range(height) < sizes[:, :1]
    columns = tf.range(width) < sizes[:, 1:]
    inside = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
    return maps * tf.cast(inside, maps.dtype)[..., tf.newaxis]


def max_pool(maps):
    """Return the maxima of 3 x 3 cells with stride 2, without padding and rounded up, as in caffe.

    Args:
        maps: [B, H, W, C]; sides of one cell give one cell.

    Returns:
        [B, ceil((H - 3) / 2) + 1, ceil((W - 3) / 2) + 1, C].
    """
    height, width = tf.shape(maps)[1], tf.shape(maps)[2]
    # One more cell holds the last window, which is cut off if the length is even.
    below, right = tf.maximum(3 - height, 1), tf.maximum(3 - width, 1)
    maps = tf.pad(maps, [[0, 0], [0, below], [0, right], [0, 0]], constant_values=maps.dtype.min)
    return tf.nn.max_pool2d(maps, 3, 2, "VALID")


def half(sizes):
    """Return ceil(sizes / 2), the sizes after a convolution of stride 2."""
    return (sizes + 1) // 2


def _strided(sides, strides: int) -> list[int | None]:
    return [None if side is None else -(-side // strides) for side in sides]
