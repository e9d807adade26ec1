"""Runs the graph in this process, with sqlite metadata."""

import contextlib
import logging
import pathlib
import time

from absl import logging as absl_logging
from rich.console import Console
from tfx import v1 as tfx

from lxmert_tf.errors import InputError
from pipeline.config import LoadedPipeline
from pipeline.infra_validation import check_docker_engine
from pipeline.pipeline import create_pipeline
from pipeline.pushed_model_card import complete_model_card
from pipeline.run_record import RunRecord, read_last_run
from pipeline.runners.partial_run import run_from

METADATA = "metadata.sqlite"


def run_local(
    config: LoadedPipeline, root, push_directory, from_component: str | None = None
) -> RunRecord:
    """Runs a pipeline and says component by component what it does.

    Args:
        config: what the pipeline does.
        root: where artifacts and metadata are kept; a run there reuses what earlier ones made.
        push_directory: where a blessed model goes, as a numbered version.
        from_component: with which to begin, on what the last run made before it, cache or not;
            None for the whole graph.

    Returns:
        what the run did, out of ML Metadata.

    Raises:
        InputError: what an earlier run pushed, and this one did not need to push again, is gone;
            or there is no such component, or no run before that it could go on from; or no Docker
            engine where the pipeline asks for infra validation.
        GateError: the data is not fit for training.
    """
    if config.pipeline.infra_validation:
        check_docker_engine()
    root = pathlib.Path(root).resolve()
    metadata_path = str(root / METADATA)
    graph = create_pipeline(
        config,
        str(root),
        metadata_path,
        str(pathlib.Path(push_directory).resolve()),
        enable_cache=from_component is None,
    )
    options = from_component and run_from(graph.components, from_component, metadata_path)
    root.mkdir(parents=True, exist_ok=True)
    with progress():
        try:
            tfx.orchestration.LocalDagRunner().run(graph, run_options=options)
        except LookupError as error:
            if from_component is None:
                raise
            raise InputError(
                f"--from {from_component}: the last run did not get so far: {error}"
            ) from error
    record = read_last_run(metadata_path)
    if record.pushed_to and not pathlib.Path(record.pushed_to).is_dir():
        raise InputError(
            f"{record.pushed_to}: was pushed by an earlier run and is gone; remove {root} to train "
            "anew"
        )
    if record.pushed_to:
        complete_model_card(record)
    return record


@contextlib.contextmanager
def progress():
    """Keeps TFX's own log to warnings, and tells a person what runs since when."""
    log = absl_logging.get_absl_logger()
    verbosity = absl_logging.get_verbosity()
    handler = _ComponentLines()
    handlers, propagate = list(log.handlers), log.propagate
    # Through absl: saving a model sets the logger's level back to what absl remembers.
    absl_logging.set_verbosity(absl_logging.INFO)
    log.handlers, log.propagate = [handler], False
    try:
        yield
    finally:
        absl_logging.set_verbosity(verbosity)
        log.handlers, log.propagate = handlers, propagate


class _ComponentLines(logging.Handler):
    """Turns the runner's 'Component X is running.' into a line with the time."""

    def __init__(self):
        super().__init__(logging.INFO)
        self._started = time.monotonic()
        self._console = Console(stderr=True, highlight=False)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Execution ") and message.endswith(" failed."):
            # The exception comes along and says more.
            return
        if record.levelno >= logging.ERROR:
            self._console.print(message, markup=False)
        elif message.startswith("Component ") and message.endswith(" is running."):
            component = message.split()[1]
            self._console.print(f"{time.monotonic() - self._started:6.0f} s  {component}")
