"""What a pipeline run did, read back from ML Metadata."""

import dataclasses
import pathlib
from collections.abc import Iterator

import ml_metadata as mlmd
import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console
from rich.table import Table

from lxmert_tf.data import schema
from lxmert_tf.errors import GateError, InputError
from lxmert_tf.evaluation.evaluate import OVERALL
from pipeline.evaluation import METRIC
from pipeline.pipeline import BLESSED_MODEL

_STATES = metadata_store_pb2.Execution.State


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One run.

    Args:
        states: per component, in the order in which they ran: "COMPLETE" or "CACHED".
        uris: per component and output, where the artifact lies.
        blessed: whether the Evaluator blessed the model.
        infra_blessed: whether TensorFlow Serving loaded it and answered; None if it was not asked.
        pushed_to: the version's folder; None if nothing was pushed.
        compared: whether there was a blessed model to compare with.
    """

    states: dict[str, str]
    uris: dict[tuple[str, str], str]
    blessed: bool
    infra_blessed: bool | None
    pushed_to: str | None
    compared: bool

    def accuracy(self) -> dict[str, tuple[float, int]]:
        """Soft accuracy and number of questions by question type, and under "all"."""
        sliced = self.sliced_accuracy()
        return {**sliced.get(schema.QUESTION_TYPE, {}), **sliced[OVERALL]}

    def sliced_accuracy(self, model: str = "candidate") -> dict[str, dict[str, tuple[float, int]]]:
        """Soft accuracy and number of questions by feature and value.

        Args:
            model: "candidate", or "baseline" for the blessed model, if there was one.

        Returns:
            a table per feature that the Evaluator sliced by; under "all" one of a single value.
        """
        result = tfma.load_eval_result(
            self.uris["Evaluator", "evaluation"], model_name=model if self.compared else ""
        )
        return slice_accuracy(result)

    @property
    def passed(self) -> bool:
        """Whether all that was asked about the model blessed it."""
        return self.blessed and self.infra_blessed is not False

    def check_blessed(self) -> None:
        """Raises GateError, with what the model failed, unless it is good enough to be pushed."""
        if not self.passed:
            raise GateError(f"the model was not pushed: {'; '.join(self.failures())}")

    def failures(self) -> list[str]:
        """Why the model was not blessed, a line per threshold or server that it failed."""
        lines = list(_missed_thresholds(self.uris["Evaluator", "evaluation"]))
        if self.infra_blessed is False:
            lines.append("TensorFlow Serving did not load it or did not answer (InfraValidator)")
        return lines


def print_states(record: RunRecord) -> None:
    """Prints which components ran, which were served from the cache, and what was compared."""
    table = Table("component", "", title="Run")
    for component, state in record.states.items():
        table.add_row(component, "from the cache" if state == "CACHED" else "ran")
    console = Console()
    console.print(table)
    if record.compared:
        console.print("The model was compared with the one that was blessed before.")


def slice_accuracy(result) -> dict[str, dict[str, tuple[float, int]]]:
    """The tables of a TFMA result, a slice being one value of one feature."""
    tables: dict[str, dict[str, tuple[float, int]]] = {}
    for key, outputs in result.slicing_metrics:
        metrics = outputs[""][""]
        [(feature, value)] = key or [(OVERALL, OVERALL)]
        count = int(metrics["example_count"]["doubleValue"])
        table = tables.setdefault(feature, {})
        table[str(value) or "(none)"] = (metrics[METRIC]["doubleValue"], count)
    return {feature: dict(sorted(table.items(), key=_order)) for feature, table in tables.items()}


def _order(item: tuple[str, tuple[float, int]]):
    # Numbers of regions as numbers.
    value = item[0]
    return (int(value), value) if value.isdecimal() else (-1, value)


def open_metadata(path) -> mlmd.MetadataStore:
    """Opens a sqlite metadata file for reading.

    Raises:
        InputError: there is no such file.
    """
    if not pathlib.Path(path).is_file():
        raise InputError(f"{path}: no pipeline has run there")
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    return mlmd.MetadataStore(config)


def read_last_run(metadata_path: str) -> RunRecord:
    """Reads the newest run of a sqlite metadata file."""
    store = open_metadata(metadata_path)
    run = max(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
    states: dict[str, str] = {}
    outputs: dict[tuple[str, str], metadata_store_pb2.Artifact] = {}
    for execution in sorted(store.get_executions_by_context(run.id), key=lambda e: e.id):
        component = component_of(store, execution)
        states[component] = _STATES.Name(execution.last_known_state)
        for event in store.get_events_by_execution_ids([execution.id]):
            channel = event.path.steps[0].key
            if event.type != metadata_store_pb2.Event.INPUT:
                outputs[component, channel] = store.get_artifacts_by_id([event.artifact_id])[0]
    blessing = outputs.get(("Evaluator", "blessing"))
    infra_blessing = outputs.get(("InfraValidator", "blessing"))
    pushed = outputs.get(("Pusher", "pushed_model"))
    destination = property_of(pushed, "pushed_destination")
    return RunRecord(
        states=states,
        uris={key: artifact.uri for key, artifact in outputs.items()},
        blessed=property_of(blessing, "blessed") == 1,
        infra_blessed=infra_blessing and property_of(infra_blessing, "blessed") == 1,
        pushed_to=destination if property_of(pushed, "pushed") == 1 else None,
        # Not by the Evaluator's inputs: of a model that is compared with itself ML Metadata keeps
        # only one of the two events.
        compared=(BLESSED_MODEL, "model") in outputs,
    )


def component_of(store: mlmd.MetadataStore, execution) -> str:
    """The name of the component that an execution is of."""
    contexts = store.get_contexts_by_execution(execution.id)
    node = next(context for context in contexts if context.type == "node")
    # The node's context is named PIPELINE.NODE.
    return node.name.split(".", 1)[1]


def property_of(artifact, name: str):
    """A custom property of an artifact or execution; None if either is missing."""
    if artifact is None:
        return None
    value = artifact.custom_properties[name]
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


def _missed_thresholds(uri: str) -> Iterator[str]:
    for part in tfma.load_validation_result(uri).metric_validations_per_slice:
        for failure in part.failures:
            kind = "change since the blessed model" if failure.metric_key.is_diff else "value"
            yield (
                f"{failure.metric_key.name}: its {kind} is "
                f"{failure.metric_value.double_value.value:.4f}, "
                f"the threshold {_bound(failure.metric_threshold):.4f}"
            )


def _bound(threshold) -> float:
    if threshold.HasField("value_threshold"):
        return threshold.value_threshold.lower_bound.value
    return threshold.change_threshold.absolute.value
