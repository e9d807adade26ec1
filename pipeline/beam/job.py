"""Runs a Beam job in this process, in processes on this machine, or with another runner."""

import functools
from collections.abc import Callable, Iterable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineRunner

from lxmert_tf.errors import InputError
from pipeline.beam.workers import process_runner, raising_noted_errors, run_apart

# Options of Beam's runner in this process.
DIRECT_RUNNER = ("--runner=DirectRunner", "--direct_running_mode=in_memory")


def run_job(
    add_transforms: Callable[[beam.Pipeline], None], work, beam_args: Iterable[str], workers: int
) -> None:
    """Build a pipeline and run it.

    Args:
        add_transforms: Adds the transforms to an empty pipeline.
        work: The work folder, in which workers note errors.
        beam_args: Options of another Beam runner; they override `DIRECT_RUNNER`.
        workers: Number of processes on this machine.

    Raises:
        InputError: A worker met one, or Beam does not accept the options.
    """

    def run(*options: str, runner: PipelineRunner | None = None) -> None:
        given = PipelineOptions([*DIRECT_RUNNER, *beam_args, *options], save_main_session=False)
        with _pipeline(runner, given) as root:
            add_transforms(root)

    with raising_noted_errors(work):
        if workers == 1:
            run()
        else:
            number = f"--direct_num_workers={workers}"
            run_apart(functools.partial(run, number, runner=process_runner()))


def _pipeline(runner: PipelineRunner | None, options: PipelineOptions) -> beam.Pipeline:
    try:
        return beam.Pipeline(runner, options)
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Beam does not accept its options: {reason}") from error
