"""A SavedModel as TensorFlow Serving has it: a graph in a session."""

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's ops, which a SavedModel contains)
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from lxmert_tf.errors import InputError

# The signature that fills the tables, by the file format's convention.
INIT = "__saved_model_init_op"

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Asks TensorFlow's lower_functional_ops pass to put a function's body in the place of its call.
INLINE = "_lower_as_multi_device_function"


class SavedModelSession:
    """Loads an exported model and calls its signatures.

    `tf.saved_model.load` makes a Python function of each function in the file, which takes longer
    than reading the weights; nobody here needs them.

    Args:
        directory: of the SavedModel.

    Attributes:
        signature_defs: as the file has them, by name.
        specs: the inputs of each signature that can be called.

    Raises:
        InputError: it cannot be loaded.
    """

    def __init__(self, directory: pathlib.Path):
        config = tf.compat.v1.ConfigProto()
        # A call prepares what it needs alone. Optimizing the graph makes no later call faster
        # (docs/performance.md).
        config.graph_options.place_pruned_graph = True
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        try:
            meta_graph = _read(directory)
            _inline_functions(meta_graph.graph_def)
            self._load(meta_graph, directory)
        except Exception as error:
            # A copy that is under way can fail anywhere in the loading.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{directory}: the SavedModel cannot be loaded: {reason}") from error
        self.signature_defs = dict(sorted(meta_graph.signature_def.items()))
        self.specs = {
            name: _specs(definition)
            for name, definition in self.signature_defs.items()
            if name != INIT
        }

    def _load(self, meta_graph: meta_graph_pb2.MetaGraphDef, directory: pathlib.Path) -> None:
        with self._session.graph.as_default():
            tf.import_graph_def(meta_graph.graph_def, name="")
        saver = meta_graph.saver_def
        weights = str(directory / "variables" / "variables")
        self._session.run(saver.restore_op_name, {saver.filename_tensor_name: weights})
        if INIT in meta_graph.signature_def:
            self._session.run(meta_graph.signature_def[INIT].outputs[INIT].name)

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
            signature: its name.
            inputs: by name, all that it takes; what NumPy makes arrays of.

        Returns:
            its outputs by name; texts are bytes objects.

        Raises:
            tf.errors.InvalidArgumentError: what the graph says against the inputs.
        """
        called = self.signature_defs[signature]
        outputs = {name: tensor.name for name, tensor in called.outputs.items()}
        feed = {tensor.name: inputs[name] for name, tensor in called.inputs.items()}
        return self._session.run(outputs, feed)


def _read(directory: pathlib.Path) -> meta_graph_pb2.MetaGraphDef:
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((directory / "saved_model.pb").read_bytes())
    [meta_graph] = saved.meta_graphs
    return meta_graph


def _inline_functions(graph: tf.compat.v1.GraphDef) -> None:
    # TensorFlow's passes look into a called function again at every level of the calls above it.
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            if node.op in CALLS:
                node.attr[INLINE].b = True


def _specs(definition: meta_graph_pb2.SignatureDef) -> dict[str, tf.TensorSpec]:
    inputs = sorted(definition.inputs.items())
    return {
        name: tf.TensorSpec(tensor.tensor_shape, tf.as_dtype(tensor.dtype), name)
        for name, tensor in inputs
    }
