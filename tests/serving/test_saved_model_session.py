"""Signatures in a session give the same as the functions that TensorFlow loads."""

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf.errors import InputError
from lxmert_tf.serving.session import CALLS, SavedModelSession
from lxmert_tf.serving.warmup import warmup_requests


def test_every_signature_equals_its_function(session, signatures):
    about = session.specs["answer_about_image"]["image_state"].shape[-1]
    features = session.specs["serving_default"]["region_features"].shape[-1]
    called = set()
    for name, protos in warmup_requests(features, about):
        inputs = {key: tf.make_ndarray(proto) for key, proto in protos.items()}
        outputs = session.run(name, inputs)
        expected = signatures[name](**{key: tf.constant(inputs[key]) for key in inputs})
        assert outputs.keys() == expected.keys()
        for key, tensor in expected.items():
            if tensor.dtype == tf.string:
                assert outputs[key].tolist() == tensor.numpy().tolist()
            else:
                # Other fusions, other rounding.
                np.testing.assert_allclose(outputs[key], tensor.numpy(), rtol=0, atol=1e-5)
        called.add(name)
    assert called == set(signatures)


def test_specs_are_those_of_the_functions(session, signatures):
    assert session.specs.keys() == set(signatures)
    for name, function in signatures.items():
        inputs = function.structured_input_signature[1]
        assert session.specs[name] == {
            key: (tuple(spec.shape), spec.dtype.as_numpy_dtype) for key, spec in inputs.items()
        }


def test_a_run_calls_no_function(session, batch):
    called = session.signature_defs["serving_default"]
    feed = {called.inputs[name].name: tensor.numpy() for name, tensor in batch.items()}
    ran = tf.compat.v1.RunMetadata()
    session._session.run(
        called.outputs["scores"].name,
        feed,
        tf.compat.v1.RunOptions(output_partition_graphs=True),
        ran,
    )
    [graph] = ran.partition_graphs
    operations = {node.op for node in graph.node}
    # oneDNN has names of its own for products, by processor.
    assert any("MatMul" in operation for operation in operations)
    assert operations.isdisjoint(CALLS)


def test_an_assertion_in_the_graph_is_raised(session, batch):
    inputs = {name: tensor.numpy() for name, tensor in batch.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match="region_count is negative"):
        session.run("serving_default", inputs | {"region_count": -inputs["region_count"]})


def test_folder_without_a_graph_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot load the SavedModel"):
        SavedModelSession(tmp_path)
