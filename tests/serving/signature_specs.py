"""What SavedModels of the tests hold: inputs and outputs of signatures, and ops."""

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.serving.tiny import SIZES

F, H, K = SIZES.region_feature_size, SIZES.hidden_size, 5
REGIONS = {
    "region_features": ("float32", [None, None, F]),
    "region_boxes": ("float32", [None, None, 4]),
    "region_count": ("int32", [None]),
}
QUESTION = {"question": ("string", [None])}
ANSWERS = {"answers": ("string", [None, K]), "scores": ("float32", [None, K])}
# Ops of core TensorFlow that call back into the Python process that made the graph.
PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def described(tensors):
    """Return {name: (dtype, shape)} of the inputs or outputs of a SignatureDef."""
    return {
        name: (
            tf.as_dtype(info.dtype).name,
            [None if d.size == -1 else d.size for d in info.tensor_shape.dim],
        )
        for name, info in tensors.items()
    }


def signature_defs(directory):
    """Return {name: SignatureDef} of a SavedModel."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((directory / "saved_model.pb").read_bytes())
    [graph] = saved.meta_graphs
    # TensorFlow's own initializes tables.
    return {k: v for k, v in graph.signature_def.items() if k != "__saved_model_init_op"}
