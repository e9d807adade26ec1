"""A detector in the form of the TensorFlow Object Detection API, whose answers are known."""

import numpy as np
import tensorflow as tf

# y1 x1 y2 x2, as the API has them: the left half, the right half, nearly all, and padding.
BOXES = np.float32([[[0, 0, 1, 0.5], [0, 0.5, 1, 1], [-0.1, 0.2, 1.2, 0.9], [0, 0, 0, 0]]])
SCORES = np.float32([[0.3, 0.9, 0.1, 0]])
CLASSES = np.float32([[1, 3, 1, 1]])
CHANNELS = 32
MAP = 16


def kernel() -> np.ndarray:
    """Float32 [1, 1, 3, CHANNELS]: the first channels are red, green, and blue, the rest is 0."""
    values = np.zeros([1, 1, 3, CHANNELS], np.float32)
    values[0, 0, :, :3] = np.eye(3)
    return values


def detect(image, kernel, pads: bool = False) -> dict:
    """Return the outputs of the detector.

    Args:
        image: A tensor [1, H, W, 3], with values in 0..255.
        kernel: What `kernel` returns.
        pads: Whether the picture keeps its aspect ratio on a square.
    """
    pixels = tf.cast(image, tf.float32) / 255
    with tf.name_scope("ResizeToRange"):
        if pads:
            height, width = tf.shape(pixels)[1], tf.shape(pixels)[2]
            side = tf.maximum(height, width)
            pixels = tf.pad(pixels, [[0, 0], [0, side - height], [0, side - width], [0, 0]])
    pixels = tf.compat.v1.image.resize(pixels, [MAP, MAP], name="resized")
    bias = tf.constant([0.0] * 3 + [1.0] * (CHANNELS - 3))
    features = tf.nn.relu(tf.nn.conv2d(pixels, kernel, 1, "SAME") + bias, name="block/Relu")
    # The outputs depend on the picture, as a real detector's do.
    zero = 0 * tf.reduce_mean(features)
    return {
        "detection_boxes": tf.add(BOXES, zero, name="detection_boxes"),
        "detection_scores": tf.add(SCORES, zero, name="detection_scores"),
        "detection_classes": tf.add(CLASSES, zero, name="detection_classes"),
        "num_detections": tf.add(np.float32([3]), zero, name="num_detections"),
    }


def write_frozen_graph(path, detect=detect, shape=(None, None, None, 3), dtype=tf.uint8) -> str:
    """Write `frozen_inference_graph.pb` as TensorFlow 1 does.

    Args:
        path: The file.
        detect: Function from (image, kernel) to the outputs.
        shape: Shape of the picture.
        dtype: Type of the picture.
    """
    with tf.Graph().as_default() as graph:
        detect(tf.compat.v1.placeholder(dtype, shape, name="image_tensor"), kernel())
        path.write_bytes(graph.as_graph_def().SerializeToString())
    return str(path)


def write_saved_model(path, detect=detect, shape=(1, None, None, 3), dtype=tf.uint8) -> str:
    """Write a SavedModel as TensorFlow 2 does; the arguments are those of `write_frozen_graph`."""
    module = tf.Module()
    module.kernel = tf.Variable(kernel())

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)])
    def serve(input_tensor):
        return detect(input_tensor, module.kernel)

    tf.saved_model.save(module, str(path), signatures=serve.get_concrete_function())
    return str(path)
