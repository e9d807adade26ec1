"""Weights as int8 are as close as eight bits allow, and the graph has them in place of floats."""

import importlib.util

import numpy as np
import pytest

from lxmert_tf.serving.int8_weights import compress_weights, quantize
from lxmert_tf.serving.openvino_runtime import import_openvino

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("input_axis", [0, 1])
def test_each_output_has_its_scale(input_axis):
    weights = RANDOM.normal(size=[20, 30]).astype(np.float32)
    outputs = np.moveaxis(weights, input_axis, 0)
    outputs[:, 3] *= 1000
    outputs[:, 5] = 0
    values, scales = quantize(weights, input_axis)
    assert (values.dtype, scales.dtype) == (np.int8, np.float32)
    errors = np.moveaxis(np.abs(values * scales - weights), input_axis, 0)
    # Half a step, of which there are 127 up to the largest.
    assert (errors <= np.abs(outputs).max(axis=0) * (0.5 / 127 + 1e-6)).all()
    assert np.abs(np.moveaxis(values, input_axis, 0)).max(axis=0).tolist() == [
        0 if i == 5 else 127 for i in range(errors.shape[1])
    ]


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_keeps_its_result(transposed):
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("needs the extra openvino")
    openvino = import_openvino()
    from openvino import opset13 as ops

    weights = RANDOM.normal(size=[40, 30]).astype(np.float32)
    rows = ops.parameter([-1, 40], np.float32)
    constant = ops.constant(weights.T.copy() if transposed else weights)
    product = ops.matmul(rows, constant, False, transposed)
    graph = openvino.Model([product], [rows])
    compress_weights(graph)
    constants = {
        str(node.get_element_type().to_dtype())
        for node in graph.get_ops()
        if node.get_type_name() == "Constant" and node.data.size > 40
    }
    assert constants == {"int8"}
    values = RANDOM.normal(size=[5, 40]).astype(np.float32)
    found = openvino.compile_model(graph, "CPU")([values])[0]
    exact = values @ weights
    assert np.abs(found - exact).max() < 0.03 * np.abs(exact).max()
