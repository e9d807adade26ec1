"""The graph as a table for a person: what runs, on what, with which settings."""

import json
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from tfx.dsl.components.base.base_node import BaseNode

# Of a setting's value: what fits beside the other columns.
LONGEST = 300


def print_graph(components: Iterable[BaseNode]) -> None:
    """Prints a row per component, in the order in which they can run."""
    table = Table(title="Graph", show_lines=True)
    table.add_column("component", no_wrap=True)
    for column in ("reads", "makes", "settings"):
        table.add_column(column, overflow="fold")
    for component in components:
        table.add_row(
            component.id,
            "\n".join(_inputs(component)),
            "\n".join(component.outputs),
            "\n".join(_settings(component.exec_properties)),
        )
    Console().print(table, markup=False)


def _inputs(component: BaseNode):
    for name, channel in component.inputs.items():
        # A resolver looks for artifacts of any run.
        producer = getattr(channel, "producer_component_id", None) or "any run"
        yield f"{name} of {producer}"
    before = {channel.producer_component_id for channel in _produced(component)}
    for node in sorted(node.id for node in component.upstream_nodes if node.id not in before):
        yield f"after {node}"


def _produced(component: BaseNode):
    channels = component.inputs.values()
    return [c for c in channels if getattr(c, "producer_component_id", None)]


def _settings(properties: dict):
    for name, value in properties.items():
        text = _compact(value)
        if text not in ("None", "null", "{}", "[]"):
            yield f"{name}: {text if len(text) <= LONGEST else text[:LONGEST] + ' ...'}"


def _compact(value) -> str:
    """One line of JSON without its indents and quotes."""
    if isinstance(value, type):
        return value.__name__
    try:
        return json.dumps(json.loads(value), ensure_ascii=False).replace("\\", "").replace('"', "")
    except (TypeError, ValueError):
        return str(value)
