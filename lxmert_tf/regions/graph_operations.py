"""The operations that a foreign graph may have: those that only compute."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

from tensorflow.python.framework import op_def_registry

from lxmert_tf.errors import InputError

# A stateful operation can reach files, streams, other machines, and Python. These keep variables,
# arrays and tables in memory, or run functions of the graph, whose nodes are checked, too.
_STATEFUL = re.compile(
    r"""Assert|Case|CheckNumerics(V2)?|Empty|GuaranteeConst|If|StatefulPartitionedCall|While
    |(Read|Assign\w*)VariableOp|DisableCopyOnRead|Variable(V2)?|VarHandleOp|VarIsInitializedOp
    |VariableShape|Resource(Gather(Nd)?|StridedSliceAssign)|TensorArray\w*|Stack\w*
    |(Mutable)?HashTable(V2)?|InitializeTableV2|LookupTable\w+
    |Random\w+|StatefulStandardNormal\w*|StatefulUniform\w*|TruncatedNormal|Multinomial""",
    re.VERBOSE,
)
_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# TensorFlow counts some as stateless that use files (CacheDataset, ImmutableConst, DecodeProtoV2),
# send tensors to a URL (DebugIdentity), end the process (Abort), or run other code.
_STATELESS = re.compile(
    r"Dataset|Reader|Debug|^Copy|File|FromTextFile|Remap|Proto|^ImmutableConst"
    r"|Save|Restore|^Abort|CustomCall|RemoteFused|^TRT|^TfLite"
)
# A SavedModel reads its variables with these.
_READS_CHECKPOINTS = {"Restore", "RestoreSlice", "RestoreV2", "ShardedFilename"}
# And writes them with these, which have no outputs.
_WRITES_CHECKPOINTS = {"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2"}


def nodes_of(graph_def) -> Iterator[Any]:
    """Yield the nodes of a graph and of its functions."""
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def check_operations(path: pathlib.Path, graph_def, reads_checkpoints: bool = False) -> None:
    """Check that a graph only computes.

    Args:
        path: The model, for the message.
        graph_def: The graph.
        reads_checkpoints: Whether it may restore variables.

    Raises:
        InputError: An operation calls Python, uses files, or could do more than compute.
    """
    for node in nodes_of(graph_def):
        if reads_checkpoints and node.op in _READS_CHECKPOINTS:
            continue
        reason = _reason_to_refuse(node.op)
        if reason:
            raise InputError(f"{path}: refused, because it {reason} ({node.op} {node.name!r})")


def _reason_to_refuse(operation: str) -> str | None:
    if operation in _PYTHON:
        return "calls Python code"
    if operation in _WRITES_CHECKPOINTS or _STATELESS.search(operation):
        return "reads or writes files"
    definition = op_def_registry.get(operation)
    # Functions of the graph have no definition.
    if definition is None or not definition.is_stateful or _STATEFUL.fullmatch(operation):
        return None
    return "does more than compute"


def remove_saving(graph_def) -> None:
    """Make the operations that write checkpoints do nothing: loading a model needs none of them."""
    for node in nodes_of(graph_def):
        if node.op in _WRITES_CHECKPOINTS:
            name = node.name
            node.Clear()
            node.name, node.op = name, "NoOp"
