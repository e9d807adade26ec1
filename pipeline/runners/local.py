"""Run the pipeline in this process with SQLite metadata, or print its graph."""

import contextlib
import json
import logging
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence

from absl import logging as absl_logging
from rich.table import Table
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.pipeline import RunOptions

from lxmert_tf.errors import InputError
from lxmert_tf.terminal import make_console
from pipeline.components.infra_validator import check_docker_engine
from pipeline.config import LoadedPipeline
from pipeline.pipeline import create_pipeline
from pipeline.root_files import METADATA_FILE
from pipeline.run_record import RunRecord, read_last_run
from pipeline.run_report import complete_model_card

# Longer settings are cut in the table of the graph.
MAX_SETTING_LENGTH = 300


def run_local(
    config: LoadedPipeline,
    root,
    push_directory,
    from_component: str | None = None,
    workers: int = 1,
) -> RunRecord:
    """Run a pipeline, and print each component as it starts.

    Args:
        config: The pipeline.
        root: Folder for artifacts and metadata. A run reuses the results of earlier runs there.
        push_directory: Folder for blessed models, which become numbered versions in it.
        from_component: The component to start from, on the results of the last run before it and
            without the cache; None for the whole pipeline.
        workers: Number of processes that ingest.

    Returns:
        The result, read from ML Metadata.

    Raises:
        InputError: There is no such component, no earlier run to start from, or no Docker engine
            for the infra validation; or the model was pushed by an earlier run and is gone.
        GateError: The data is not fit for training.
    """
    if config.pipeline.infra_validation:
        check_docker_engine()
    root = pathlib.Path(root).resolve()
    metadata_path = root / METADATA_FILE
    pipeline = create_pipeline(
        config,
        root=str(root),
        metadata_path=str(metadata_path),
        push_directory=str(pathlib.Path(push_directory).resolve()),
        enable_cache=from_component is None,
        workers=workers,
    )
    options = None
    if from_component is not None:
        options = partial_run_options(pipeline.components, from_component, metadata_path)
    root.mkdir(parents=True, exist_ok=True)
    with printed_progress():
        try:
            tfx.orchestration.LocalDagRunner().run(pipeline, run_options=options)
        except LookupError as error:
            if from_component is None:
                raise
            raise InputError(
                f"--from {from_component}: the last run did not reach it: {error}"
            ) from error
    record = read_last_run(metadata_path)
    if record.pushed_to:
        if not pathlib.Path(record.pushed_to).is_dir():
            raise InputError(
                f"{record.pushed_to}: pushed by an earlier run, but no longer there; remove {root} "
                "to train again"
            )
        complete_model_card(record, record.pushed_to)
    return record


def partial_run_options(
    components: Sequence[BaseNode], from_component: str, metadata_path: pathlib.Path
) -> RunOptions:
    """Return the options of a run that starts in the middle of the pipeline.

    Args:
        components: All components of the pipeline.
        from_component: The first component to run.
        metadata_path: The SQLite file with the earlier runs.

    Raises:
        InputError: There is no such component or no earlier run.
    """
    by_name = {component.id: component for component in components}
    if from_component not in by_name:
        raise InputError(
            f"--from {from_component}: no such component; it must be one of {', '.join(by_name)}"
        )
    if not metadata_path.is_file():
        raise InputError(f"--from {from_component}: no earlier run in {metadata_path}")
    running = _downstream(by_name[from_component])
    # The newest artifacts may have changed since the resolvers of the earlier run.
    resolvers = [
        component.id
        for component in components
        if isinstance(component, tfx.dsl.Resolver)
        and any(node.id in running for node in component.downstream_nodes)
    ]
    return RunOptions(from_nodes=[from_component, *resolvers])


def _downstream(node: BaseNode) -> set[str]:
    found = {node.id}
    for after in node.downstream_nodes:
        found |= _downstream(after)
    return found


@contextlib.contextmanager
def printed_progress() -> Iterator[None]:
    """Reduce TFX's log to errors and a line for each component as it starts."""
    log = absl_logging.get_absl_logger()
    verbosity = absl_logging.get_verbosity()
    handlers, propagate = list(log.handlers), log.propagate
    # Set through absl: saving a model resets the logger's level to the one that absl knows.
    absl_logging.set_verbosity(absl_logging.INFO)
    log.handlers, log.propagate = [_ComponentLines()], False
    try:
        yield
    finally:
        absl_logging.set_verbosity(verbosity)
        log.handlers, log.propagate = handlers, propagate


class _ComponentLines(logging.Handler):
    """Handler that prints the runner's "Component X is running." as a line with the time."""

    def __init__(self):
        super().__init__(logging.INFO)
        self._started = time.monotonic()
        self._console = make_console(stderr=True)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Execution ") and message.endswith(" failed."):
            # The exception that follows says more.
            return
        if record.levelno >= logging.ERROR:
            self._console.print(message)
        elif message.startswith("Component ") and message.endswith(" is running."):
            component = message.split()[1]
            self._console.print(f"{time.monotonic() - self._started:6.0f} s  {component}")


def print_graph(components: Iterable[BaseNode]) -> None:
    """Print a table of components with their inputs, outputs and settings."""
    table = Table(title="Pipeline", show_lines=True)
    table.add_column("component", no_wrap=True)
    for column in ("inputs", "outputs", "settings"):
        table.add_column(column, overflow="fold")
    for component in components:
        table.add_row(
            component.id,
            "\n".join(_inputs(component)),
            "\n".join(component.outputs),
            "\n".join(_settings(component.exec_properties)),
        )
    make_console().print(table)


def _inputs(component: BaseNode) -> Iterator[str]:
    # The inputs of a resolver have no producer.
    producers = {
        name: getattr(channel, "producer_component_id", None)
        for name, channel in component.inputs.items()
    }
    for name, producer in producers.items():
        yield f"{name} of {producer or 'any run'}"
    for node in sorted(node.id for node in component.upstream_nodes):
        if node not in producers.values():
            yield f"after {node}"


def _settings(properties: dict) -> Iterator[str]:
    for name, value in properties.items():
        text = _compact(value)
        if text not in ("None", "null", "{}", "[]"):
            cut = f"{text[:MAX_SETTING_LENGTH]} ..." if len(text) > MAX_SETTING_LENGTH else text
            yield f"{name}: {cut}"


def _compact(value) -> str:
    """Return a value in one line; JSON without quotes."""
    if isinstance(value, type):
        return value.__name__
    try:
        return json.dumps(json.loads(value), ensure_ascii=False).replace("\\", "").replace('"', "")
    except (TypeError, ValueError):
        return str(value)
