"""Access to ML Metadata, and tables of the runs, artifacts and models in it."""

import collections
import dataclasses
import datetime
import json
import pathlib

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from rich.table import Table

from lxmert_tf.errors import InputError
from lxmert_tf.terminal import make_console
from pipeline.components.scene_example_gen import ingest_properties

RUN = "pipeline_run"
NODE = "node"

_INPUT = metadata_store_pb2.Event.INPUT
_STATES = metadata_store_pb2.Execution.State
Row = tuple[str, ...]


def connection_config(path) -> metadata_store_pb2.ConnectionConfig:
    """Return the configuration with which TFX writes a SQLite metadata file.

    Unlike `sqlite_metadata_connection_config` of TFX, it makes no folder, so that a pipeline that
    cannot be built leaves none behind.
    """
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = (
        metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    )
    return config


def open_metadata(path) -> mlmd.MetadataStore:
    """Open a SQLite metadata file for reading.

    Raises:
        InputError: The file does not exist.
    """
    if not pathlib.Path(path).is_file():
        raise InputError(f"{path}: no such file; no pipeline has run there")
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    return mlmd.MetadataStore(config)


def property_of(artifact, name: str):
    """Return a custom property of an artifact or execution; None if either is missing."""
    if artifact is None:
        return None
    value = artifact.custom_properties[name]
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


@dataclasses.dataclass(frozen=True)
class Execution:
    """One execution of a component.

    Args:
        proto: The execution as ML Metadata stores it.
        component: The name of the component.
        runs: The ids of the runs that it belongs to.
        inputs: Artifact ids by channel.
        outputs: Artifact ids by channel.
    """

    proto: metadata_store_pb2.Execution
    component: str
    runs: tuple[int, ...]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]

    @property
    def state(self) -> str:
        """The name of the state, such as "COMPLETE", "CACHED" or "FAILED"."""
        return _STATES.Name(self.proto.last_known_state)

    @property
    def output_ids(self) -> list[int]:
        """The ids of all output artifacts."""
        return [artifact for artifacts in self.outputs.values() for artifact in artifacts]


def read_executions(store: mlmd.MetadataStore) -> list[Execution]:
    """Read all executions, oldest first."""
    executions = sorted(store.get_executions(), key=lambda execution: execution.id)
    return [_read_execution(store, execution) for execution in executions]


def _read_execution(store: mlmd.MetadataStore, execution) -> Execution:
    inputs: dict[str, list[int]] = collections.defaultdict(list)
    outputs: dict[str, list[int]] = collections.defaultdict(list)
    for event in store.get_events_by_execution_ids([execution.id]):
        channels = inputs if event.type == _INPUT else outputs
        channels[event.path.steps[0].key].append(event.artifact_id)
    contexts = store.get_contexts_by_execution(execution.id)
    # TFX names the context of a node PIPELINE.NODE.
    [component] = [c.name.split(".", 1)[1] for c in contexts if c.type == NODE]
    runs = tuple(context.id for context in contexts if context.type == RUN)
    return Execution(execution, component, runs, dict(inputs), dict(outputs))


def latest_blessed_model(metadata_path) -> str:
    """Return the URI of the model that was blessed last.

    Raises:
        InputError: No pipeline has run there, or no model was blessed.
    """
    store = open_metadata(metadata_path)
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
    for execution in reversed(read_executions(store)):
        if execution.state == "COMPLETE" and 1 in _outputs_of(
            "Evaluator", "blessed", [execution], artifacts
        ):
            # ML Metadata keeps one event if the model was compared with itself.
            [model] = execution.inputs.get("model") or execution.inputs["baseline_model"]
            return artifacts[model].uri
    raise InputError(f"{metadata_path}: no blessed model; run the pipeline first")


@dataclasses.dataclass(frozen=True)
class MetadataStatus:
    """The content of a metadata file as rows of text.

    Args:
        runs: Rows of run, start, components that ran, cached components, failed components,
            blessed.
        artifacts: Rows of id, type, component, URI.
        models: Rows of id, component, data, initial weights, blessed, pushed to.
    """

    runs: list[Row]
    artifacts: list[Row]
    models: list[Row]


def read_status(metadata_path) -> MetadataStatus:
    """Read all runs of a SQLite metadata file.

    Raises:
        InputError: The file does not exist.
    """
    store = open_metadata(metadata_path)
    executions = read_executions(store)
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts()}
    types = {kind.id: kind.name for kind in store.get_artifact_types()}
    # A cached artifact is an output of several executions; the first one made it.
    makers: dict[int, Execution] = {}
    for execution in executions:
        for made in execution.output_ids:
            makers.setdefault(made, execution)
    lineage = _Lineage(executions, artifacts, makers)
    outputs = [artifact for artifact in artifacts.values() if artifact.id in makers]
    return MetadataStatus(
        runs=[
            _run_row(run, [e for e in executions if run.id in e.runs], artifacts)
            for run in sorted(store.get_contexts_by_type(RUN), key=lambda run: run.id)
        ],
        artifacts=[
            (str(artifact.id), types[artifact.type_id], makers[artifact.id].component, artifact.uri)
            for artifact in outputs
        ],
        models=[
            lineage.model_row(artifact)
            for artifact in outputs
            if types[artifact.type_id] == "Model"
        ],
    )


def print_status(status: MetadataStatus) -> None:
    """Print a table each of runs, artifacts and models."""
    console = make_console()
    for title, columns, rows in (
        ("Runs", ("run", "started", "ran", "cached", "failed", "blessed"), status.runs),
        ("Artifacts", ("id", "type", "component", "URI"), status.artifacts),
        (
            "Models",
            ("id", "component", "data", "initial weights", "blessed", "pushed to"),
            status.models,
        ),
    ):
        table = Table(title=title)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _run_row(run, executions: list[Execution], artifacts) -> Row:
    states = collections.Counter(execution.state for execution in executions)
    started = datetime.datetime.fromtimestamp(run.create_time_since_epoch / 1000)
    verdicts = _outputs_of("Evaluator", "blessed", executions, artifacts)
    return (
        run.name,
        f"{started:%Y-%m-%d %H:%M}",
        str(states["COMPLETE"]),
        str(states["CACHED"]),
        ", ".join(e.component for e in executions if e.state == "FAILED"),
        _yes_or_no(1 in verdicts if verdicts else None),
    )


class _Lineage:
    """The origin of models, and how they were used."""

    def __init__(self, executions, artifacts, makers):
        self._executions = executions
        self._artifacts = artifacts
        self._makers = makers

    def model_row(self, artifact) -> Row:
        maker = self._makers[artifact.id]
        data = [self._data(examples) for examples in maker.inputs.get("examples", ())]
        bases = [f"model {base}" for base in maker.inputs.get("base_model", ())]
        readers = [e for e in self._executions if artifact.id in e.inputs.get("model", ())]
        verdicts = _outputs_of("Evaluator", "blessed", readers, self._artifacts)
        pushed = _outputs_of("Pusher", "pushed_destination", readers, self._artifacts)
        return (
            str(artifact.id),
            maker.component,
            "; ".join(data),
            "; ".join(bases) or _init_from(maker) or "random weights",
            _yes_or_no(verdicts[-1] == 1 if verdicts else None),
            "\n".join(dict.fromkeys(str(place) for place in pushed if place)),
        )

    def _data(self, examples: int) -> str:
        generator = self._makers[examples].proto
        properties = ingest_properties({"custom_config": property_of(generator, "custom_config")})
        ingest = properties["ingest"]
        source = ingest["source"] or ", ".join(ingest["parts"])
        return f"examples {examples}: {source} ({properties['fingerprint']})"


def _outputs_of(component: str, name: str, executions: list[Execution], artifacts) -> list:
    """Return a custom property of all outputs of a component that have it."""
    values = [
        property_of(artifacts[made], name)
        for execution in executions
        if execution.component == component
        for made in execution.output_ids
    ]
    return [value for value in values if value is not None]


def _yes_or_no(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _init_from(trainer: Execution) -> str | None:
    return json.loads(property_of(trainer.proto, "custom_config"))["task"]["init_from"]
