"""Runs the graph in this process, with sqlite metadata."""

import contextlib
import logging
import pathlib
import time

import tensorflow as tf
from absl import logging as absl_logging
from rich.console import Console
from tfx import v1 as tfx

from pipeline.config import LoadedPipeline
from pipeline.graph import create_pipeline
from pipeline.run_record import RunRecord, read_last_run

METADATA = "metadata.sqlite"


def run_local(config: LoadedPipeline, root, push_directory) -> RunRecord:
    """Runs a pipeline and says component by component what it does.

    Args:
        config: what the pipeline does.
        root: where artifacts and metadata are kept; a run there reuses what earlier ones made.
        push_directory: where a blessed model goes, as a numbered version.

    Returns:
        what the run did, out of ML Metadata.
    """
    root = pathlib.Path(root).resolve()
    root.mkdir(parents=True, exist_ok=True)
    metadata_path = str(root / METADATA)
    graph = create_pipeline(
        config, str(root), metadata_path, str(pathlib.Path(push_directory).resolve())
    )
    with _progress():
        tfx.orchestration.LocalDagRunner().run(graph)
    return read_last_run(metadata_path)


@contextlib.contextmanager
def _progress():
    """Keeps TFX's own log to warnings, and tells a person what runs since when."""
    tf_log = tf.get_logger()
    tf_level = tf_log.level
    # TFMA warns about every SavedModel that Keras did not write, TFX about its own deprecations.
    tf_log.setLevel(logging.ERROR)
    log = absl_logging.get_absl_logger()
    level = log.level
    handler = _ComponentLines()
    handlers, propagate = list(log.handlers), log.propagate
    log.setLevel(logging.INFO)
    log.handlers, log.propagate = [handler], False
    try:
        yield
    finally:
        tf_log.setLevel(tf_level)
        log.setLevel(level)
        log.handlers, log.propagate = handlers, propagate


class _ComponentLines(logging.Handler):
    """Turns the runner's 'Component X is running.' into a line with the time."""

    def __init__(self):
        super().__init__(logging.INFO)
        self._started = time.monotonic()
        self._console = Console(stderr=True, highlight=False)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._console.print(message, markup=False)
        elif message.startswith("Component ") and message.endswith(" is running."):
            component = message.split()[1]
            self._console.print(f"{time.monotonic() - self._started:6.0f} s  {component}")
