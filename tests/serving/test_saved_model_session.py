"""Signatures called in a session, beside those that TensorFlow loads as functions."""

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf.errors import InputError
from lxmert_tf.serving.saved_model_session import SavedModelSession
from lxmert_tf.serving.warmup import warmup_requests


@pytest.mark.parametrize("optimize", [True, False])
def test_every_signature_gives_what_its_function_gives(tiny, signatures, optimize):
    session = SavedModelSession(tiny.saved_model, optimize)
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


def test_specs_are_those_of_the_functions(tiny, signatures):
    session = SavedModelSession(tiny.saved_model, optimize=False)
    assert session.specs.keys() == set(signatures)
    for name, function in signatures.items():
        assert session.specs[name] == function.structured_input_signature[1]


def test_optimizing_is_left_out_inside_functions_too(tiny):
    def settings(optimize):
        graph = SavedModelSession(tiny.saved_model, optimize)._session.graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        configs = [n.attr["config_proto"].s for n in nodes if "config_proto" in n.attr]
        return {
            tf.compat.v1.ConfigProto.FromString(
                c
            ).graph_options.rewrite_options.disable_meta_optimizer
            for c in configs
        }

    assert settings(True) == {False}
    assert settings(False) == {True}


def test_what_the_graph_says_against_inputs_is_raised(tiny, batch):
    session = SavedModelSession(tiny.saved_model, optimize=False)
    inputs = {name: tensor.numpy() for name, tensor in batch.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match="region_count is negative"):
        session.run("serving_default", inputs | {"region_count": -inputs["region_count"]})


def test_folder_without_a_graph_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be loaded"):
        SavedModelSession(tmp_path, optimize=False)
