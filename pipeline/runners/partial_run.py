"""Runs that begin in the middle of the graph, on what the last run made before it."""

import pathlib
from collections.abc import Sequence

from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.pipeline import RunOptions

from lxmert_tf.errors import InputError


def run_from(components: Sequence[BaseNode], name: str, metadata_path: str) -> RunOptions:
    """The options of a run from a component on.

    Args:
        components: of the graph.
        name: the first one that runs.
        metadata_path: the sqlite file with the earlier runs.

    Raises:
        InputError: no component has that name, or nothing ran before.
    """
    by_name = {component.id: component for component in components}
    if name not in by_name:
        raise InputError(f"--from {name}: no such component; there are {', '.join(by_name)}")
    if not pathlib.Path(metadata_path).is_file():
        raise InputError(f"--from {name}: {metadata_path} has no earlier run to go on from")
    running = _downstream(by_name[name])
    # What a resolver found for the earlier run is not the latest any more.
    resolvers = [
        component.id
        for component in components
        if isinstance(component, tfx.dsl.Resolver)
        and any(node.id in running for node in component.downstream_nodes)
    ]
    return RunOptions(from_nodes=[name, *resolvers])


def _downstream(node: BaseNode) -> set[str]:
    found = {node.id}
    for after in node.downstream_nodes:
        found |= _downstream(after)
    return found
