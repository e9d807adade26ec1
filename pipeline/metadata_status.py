"""Runs, artifacts and the lineage of models, out of ML Metadata, as tables."""

import collections
import dataclasses
import datetime
import json

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console
from rich.table import Table

from pipeline.components.scene_example_gen import ingest_properties
from pipeline.run_record import component_of, open_metadata, property_of

_INPUT = metadata_store_pb2.Event.INPUT
_STATES = metadata_store_pb2.Execution.State
Cells = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class MetadataStatus:
    """What a metadata file tells, as rows of text.

    Args:
        runs: (run, started, ran, from the cache, failed, blessed).
        artifacts: (id, type, made by, where).
        models: (id, made by, data, base weights, blessed, pushed to).
    """

    runs: list[Cells]
    artifacts: list[Cells]
    models: list[Cells]


def read_status(metadata_path) -> MetadataStatus:
    """Reads all runs of a sqlite metadata file.

    Raises:
        InputError: there is no such file.
    """
    store = open_metadata(metadata_path)
    executions = [_read(store, execution) for execution in store.get_executions()]
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
    types = {kind.id: kind.name for kind in store.get_artifact_types()}
    # What is served from the cache comes out of several executions; the first one made it.
    makers: dict[int, _Execution] = {}
    for execution in executions:
        for made in execution.outputs:
            makers.setdefault(made, execution)
    lineage = _Lineage(executions, artifacts, makers)
    return MetadataStatus(
        runs=[_run(store, context, executions, artifacts) for context in _runs(store)],
        artifacts=[
            (str(artifact.id), types[artifact.type_id], makers[artifact.id].component, artifact.uri)
            for artifact in artifacts.values()
            if artifact.id in makers
        ],
        models=[
            lineage.model(artifact)
            for artifact in artifacts.values()
            if types[artifact.type_id] == "Model" and artifact.id in makers
        ],
    )


def print_status(status: MetadataStatus) -> None:
    """Prints the three tables."""
    console = Console()
    for title, columns, rows in (
        ("Runs", ("run", "started", "ran", "cached", "failed", "blessed"), status.runs),
        ("Artifacts", ("id", "type", "made by", "where"), status.artifacts),
        ("Models", ("id", "made by", "data", "from", "blessed", "pushed to"), status.models),
    ):
        table = Table(title=title)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table, markup=False)


@dataclasses.dataclass(frozen=True)
class _Execution:
    """An execution with the ids of its artifacts by channel."""

    proto: metadata_store_pb2.Execution
    component: str
    runs: tuple[int, ...]
    inputs: dict[str, list[int]]
    outputs: list[int]

    @property
    def state(self) -> str:
        return _STATES.Name(self.proto.last_known_state)


class _Lineage:
    """What made a model, and what became of it."""

    def __init__(self, executions, artifacts, makers):
        self._executions = executions
        self._artifacts = artifacts
        self._makers = makers

    def model(self, artifact) -> Cells:
        maker = self._makers[artifact.id]
        data = [self._data(example) for example in maker.inputs.get("examples", ())]
        bases = [f"model {base}" for base in maker.inputs.get("base_model", ())]
        return (
            str(artifact.id),
            maker.component,
            "; ".join(data),
            "; ".join(bases) or _init_from(maker.proto) or "random weights",
            self._blessed(artifact.id),
            self._pushed(artifact.id),
        )

    def _data(self, example: int) -> str:
        """The examples, what they were read from, and the fingerprint of that."""
        told = _ingested(self._makers[example].proto)
        source = told["ingest"]["source"] or ", ".join(told["ingest"]["parts"])
        return f"examples {example}: {source} ({told['fingerprint']})"

    def _blessed(self, model: int) -> str:
        verdicts = [
            property_of(self._artifacts[made], "blessed")
            for execution in self._executions
            if execution.component == "Evaluator" and model in execution.inputs.get("model", ())
            for made in execution.outputs
        ]
        known = [verdict for verdict in verdicts if verdict is not None]
        return "" if not known else "yes" if known[-1] == 1 else "no"

    def _pushed(self, model: int) -> str:
        places = [
            property_of(self._artifacts[made], "pushed_destination")
            for execution in self._executions
            if execution.component == "Pusher" and model in execution.inputs.get("model", ())
            for made in execution.outputs
        ]
        return "\n".join(dict.fromkeys(str(place) for place in places if place))


def _read(store: mlmd.MetadataStore, execution) -> _Execution:
    inputs: dict[str, list[int]] = collections.defaultdict(list)
    outputs = []
    for event in store.get_events_by_execution_ids([execution.id]):
        if event.type == _INPUT:
            inputs[event.path.steps[0].key].append(event.artifact_id)
        else:
            outputs.append(event.artifact_id)
    contexts = store.get_contexts_by_execution(execution.id)
    runs = tuple(context.id for context in contexts if context.type == "pipeline_run")
    return _Execution(execution, component_of(store, execution), runs, dict(inputs), outputs)


def _runs(store: mlmd.MetadataStore):
    return sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)


def _run(store: mlmd.MetadataStore, context, executions, artifacts) -> Cells:
    mine = [execution for execution in executions if context.id in execution.runs]
    states = collections.Counter(execution.state for execution in mine)
    failed = [execution.component for execution in mine if execution.state == "FAILED"]
    verdicts = [
        property_of(artifacts[made], "blessed")
        for execution in mine
        if execution.component == "Evaluator"
        for made in execution.outputs
    ]
    blessed = "" if not verdicts else "yes" if 1 in verdicts else "no"
    started = datetime.datetime.fromtimestamp(context.create_time_since_epoch / 1000)
    return (
        context.name,
        f"{started:%Y-%m-%d %H:%M}",
        str(states["COMPLETE"]),
        str(states["CACHED"]),
        ", ".join(failed),
        blessed,
    )


def _ingested(execution) -> dict:
    """What the SceneExampleGen of an execution was told."""
    return ingest_properties({"custom_config": property_of(execution, "custom_config")})


def _init_from(execution) -> str | None:
    """The preset that the training of an execution started from."""
    return json.loads(property_of(execution, "custom_config"))["task"]["init_from"]
