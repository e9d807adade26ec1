"""A SavedModel loaded as a graph into a session, as TensorFlow Serving does.

`tf.saved_model.load` builds a Python function for each function in the file, which takes longer
than reading the weights. Loading the published size takes 1.6 s in a session and 3.9 s without
(docs/experiments.md).
"""

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's ops, which a SavedModel contains)
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from lxmert_tf.errors import InputError, first_line
from lxmert_tf.serving.input_spec import InputSpec, Specs, check_signature
from lxmert_tf.serving.layout import engine_of

# Name of the signature that fills the tables, by convention of the file format.
INIT = "__saved_model_init_op"

CALLS = ("PartitionedCall", "StatefulPartitionedCall")


class SavedModelSession:
    """Loads an exported model and calls its signatures.

    Args:
        directory: The SavedModel.

    Attributes:
        signature_defs: The signatures as protocol buffers, by name.
        specs: The inputs of each signature, by name.

    Raises:
        InputError: The SavedModel cannot be loaded.
    """

    def __init__(self, directory: pathlib.Path):
        if engine_of(directory) == "openvino":
            raise InputError(f"{directory}: an OpenVINO model, not a SavedModel")
        self._directory = directory
        config = tf.compat.v1.ConfigProto()
        # Each call prepares only what it needs. Optimizing the graph delays the first call and
        # makes no later call faster (docs/experiments.md).
        config.graph_options.place_pruned_graph = True
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            meta_graph = _read_meta_graph(directory)
            _inline_functions(meta_graph.graph_def)
            self._load(meta_graph, directory)
        except Exception as error:
            # Loading can fail anywhere, for example while the files are still being copied.
            raise InputError(
                f"{directory}: cannot load the SavedModel: {first_line(error)}"
            ) from error
        self.signature_defs = dict(sorted(meta_graph.signature_def.items()))
        self.specs = {
            name: _specs(definition)
            for name, definition in self.signature_defs.items()
            if name != INIT
        }

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Call a signature.

        Args:
            signature: Name of the signature.
            inputs: All inputs by name: arrays, or what NumPy makes arrays of.

        Returns:
            The outputs by name; texts are bytes objects.

        Raises:
            InputError: There is no such signature.
            tf.errors.InvalidArgumentError: An assertion in the graph refuses the inputs.
        """
        check_signature(signature, self.specs, str(self._directory))
        definition = self.signature_defs[signature]
        outputs = {name: tensor.name for name, tensor in definition.outputs.items()}
        feed = {tensor.name: inputs[name] for name, tensor in definition.inputs.items()}
        return self._session.run(outputs, feed)

    def _load(self, meta_graph: meta_graph_pb2.MetaGraphDef, directory: pathlib.Path) -> None:
        with self._session.graph.as_default():
            tf.import_graph_def(meta_graph.graph_def, name="")
        saver = meta_graph.saver_def
        weights = str(directory / "variables" / "variables")
        self._session.run(saver.restore_op_name, {saver.filename_tensor_name: weights})
        if INIT in meta_graph.signature_def:
            self._session.run(meta_graph.signature_def[INIT].outputs[INIT].name)


def _read_meta_graph(directory: pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((directory / "saved_model.pb").read_bytes())
    [meta_graph] = saved.meta_graphs
    return meta_graph


def _inline_functions(graph: tf.compat.v1.GraphDef) -> None:
    """Ask TensorFlow to replace each call of a function by the function's body.

    The attribute is private to TensorFlow: its pass `lower_functional_ops` reads it, and a version
    that does not know it ignores it. Without it, TensorFlow's passes visit a function again for
    every level of calls above it, and the first call takes 1.4 s instead of 0.8 s
    (docs/experiments.md).
    """
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            if node.op in CALLS:
                node.attr["_lower_as_multi_device_function"].b = True


def _specs(definition: meta_graph_pb2.SignatureDef) -> Specs:
    return {
        name: InputSpec(_shape(tensor), np.dtype(tf.as_dtype(tensor.dtype).as_numpy_dtype))
        for name, tensor in sorted(definition.inputs.items())
    }


def _shape(tensor: meta_graph_pb2.TensorInfo) -> tuple[int | None, ...]:
    return tuple(tf.TensorShape(tensor.tensor_shape).as_list())
