"""The SavedModel works without this project, with only TensorFlow and TF-Text."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from tests.serving.signature_specs import PYTHON_OPS

SCRIPT = """
import json, sys
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

def registered():
    ops = op_def_pb2.OpList()
    ops.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return {op.name for op in ops.op}

core = registered()
import tensorflow_text
text = registered() - core
signatures = tf.saved_model.load(sys.argv[1]).signatures
arrays = np.load(sys.argv[2], allow_pickle=False)
outputs = signatures["serving_default"](**{name: tf.constant(arrays[name]) for name in arrays})
print(json.dumps({
    "core": sorted(core),
    "text": sorted(text),
    "ours": sorted(m for m in sys.modules if m.split(".")[0] in ("lxmert_tf", "pipeline")),
    "answers": [[a.decode() for a in row] for row in outputs["answers"].numpy()],
    "scores": outputs["scores"].numpy().tolist(),
}))
"""


@pytest.fixture(scope="module")
def fresh(tiny, batch, tmp_path_factory):
    """The output of a process that imports only tensorflow and tensorflow_text."""
    folder = tmp_path_factory.mktemp("fresh")
    arrays = {name: value.numpy() for name, value in batch.items()}
    np.savez(folder / "batch.npz", **arrays | {"question": arrays["question"].astype("S")})
    command = [sys.executable, "-c", SCRIPT, tiny.saved_model, folder / "batch.npz"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_of_this_project_is_imported(fresh):
    assert fresh["ours"] == []


def test_model_answers_there_as_here(fresh, signatures, batch):
    here = signatures["serving_default"](**batch)
    assert fresh["answers"] == [[a.decode() for a in row] for row in here["answers"].numpy()]
    np.testing.assert_allclose(fresh["scores"], here["scores"], rtol=0, atol=1e-6)


def test_every_op_is_of_core_tensorflow_or_of_tf_text(fresh, tiny):
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((tiny.saved_model / "saved_model.pb").read_bytes())
    [graph] = saved.meta_graphs
    functions = {function.signature.name for function in graph.graph_def.library.function}
    ops = {node.op for node in graph.graph_def.node}
    ops |= {n.op for function in graph.graph_def.library.function for n in function.node_def}
    text = set(fresh["text"])
    assert ops & text, "the tokenizer is not in the graph"
    assert not ops & PYTHON_OPS
    assert ops - functions <= set(fresh["core"]) | text
