"""Weights of OpenVINO's matrix products as int8, with a scale for each output.

Single questions are bound by reading the weights, of which int8 has a quarter of the bytes.
OpenVINO rounds the other factor to int8 as well, in groups of 32 values as they come, and
multiplies integers where the processor can (`DYNAMIC_QUANTIZATION_GROUP_SIZE`).
"""

from typing import Any

import numpy as np

from lxmert_tf.serving.openvino_runtime import import_openvino

LARGEST = 127


def compress_weights(graph: Any) -> None:
    """Replace the constant factors of a graph's matrix products by int8 ones.

    Args:
        graph: An `openvino.Model`, which is changed.
    """
    import_openvino()
    from openvino import opset13 as ops

    for product in graph.get_ordered_ops():
        if product.get_type_name() != "MatMul":
            continue
        factor = product.input_value(1).get_node()
        if factor.get_type_name() != "Constant" or factor.data.ndim != 2:
            continue
        input_axis = 1 if product.get_attributes()["transpose_b"] else 0
        values, scales = quantize(factor.data, input_axis)
        compressed = ops.multiply(ops.convert(ops.constant(values), "f32"), ops.constant(scales))
        product.input(1).replace_source_output(compressed.output(0))


def quantize(weights: np.ndarray, input_axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Round weights to int8, so that the largest of each output is 127.

    Args:
        weights: float [inputs, outputs], or transposed.
        input_axis: The axis of the inputs, 0 or 1.

    Returns:
        int8 values of the same shape, and float32 scales that broadcast to it; the product of both
        is closest to the weights.
    """
    largest = np.abs(weights).max(axis=input_axis, keepdims=True)
    # An output without weights has any scale.
    scales = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    return np.round(weights / scales).astype(np.int8), scales
