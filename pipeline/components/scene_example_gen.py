"""The TFX component that ingests scenes, an ExampleGen."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import tempfile
import uuid
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from absl import logging as absl_logging
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from google.protobuf import wrappers_pb2
from tfx import v1 as tfx
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.components.example_gen.component import QueryBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.utils import proto_utils

from lxmert_tf.config_file import config_from_mapping
from lxmert_tf.errors import GateError
from pipeline.beam.workers import (
    noting_errors,
    process_runner,
    raising_noted_errors,
    run_apart,
    stopped_by_signals,
)
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.elements import UNUSED, ReadCount, Reject
from pipeline.ingest.files import find_inputs
from pipeline.ingest.inputs import inputs_of
from pipeline.ingest.job import check_rejects
from pipeline.ingest.registry import make_data_set
from pipeline.ingest.scenes import ReadScenes
from pipeline.ingest.transforms.serialize_scenes import SerializeScenes

# Suffix of the file with a split's counts of read and rejected images and sentences.
COUNTS = ".counts.json"
# Beam's name of the runner in several processes.
MULTI_PROCESSING = "multi_processing"


class SceneExampleGen(QueryBasedExampleGen):
    """ExampleGen that ingests a data set or files with the same transform as `lxmert ingest`.

    Args:
        config: The ingestion, with `splits`; each of them becomes a split of the examples.
        workers: Number of processes on this machine.

    Raises:
        InputError: The source is unknown, or a pattern matches no files.
    """

    def __init__(self, config: IngestConfig, workers: int = 1):
        proto = tfx.proto
        inputs = [
            proto.Input.Split(name=name, pattern=json.dumps(dataclasses.asdict(split)))
            for name, split in config.splits.items()
        ]
        parameters = {
            "ingest": {**dataclasses.asdict(config), "splits": {}},
            # Part of the execution properties, so that TFX does not reuse results of older data.
            "fingerprint": data_fingerprint(config),
        }
        custom = proto.CustomConfig()
        # A string, because a protobuf Struct would turn the extractor's integers into floats.
        custom.custom_config.Pack(wrappers_pb2.StringValue(value=json.dumps(parameters)))
        super().__init__(
            input_config=proto.Input(splits=inputs),
            custom_config=custom,
            custom_executor_spec=executor_spec.BeamExecutorSpec(SceneExampleGenExecutor),
        )
        if workers > 1:
            mode = f"--direct_running_mode={MULTI_PROCESSING}"
            self.with_beam_pipeline_args([mode, f"--direct_num_workers={workers}"])


class SceneExampleGenExecutor(BaseExampleGenExecutor):
    """Executor that runs `ReadScenes` for every split."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Ingest all splits, then check that not too much was rejected."""
        with tempfile.TemporaryDirectory(prefix="regions-") as folder:
            self._work_folder = folder
            ingest = functools.partial(super().Do, input_dict, output_dict, exec_properties)
            with raising_noted_errors(folder):
                if self._in_processes:
                    with stopped_by_signals():
                        run_apart(ingest)
                else:
                    ingest()
            allowed = ingest_properties(exec_properties)["ingest"]["max_reject_fraction"]
            for path in sorted(pathlib.Path(folder).glob(f"*{COUNTS}")):
                _check_rejects(json.loads(path.read_text(encoding="utf-8")), allowed)

    @property
    def _in_processes(self) -> bool:
        options = PipelineOptions(self._beam_pipeline_args).view_as(DirectOptions)
        return options.direct_running_mode == MULTI_PROCESSING

    def _make_beam_pipeline(self) -> beam.Pipeline:
        """Return the pipeline that all splits are read in; TFX calls this."""
        if not self._in_processes:
            return super()._make_beam_pipeline()
        options = PipelineOptions(self._beam_pipeline_args, save_main_session=False)
        return beam.Pipeline(process_runner(), options)

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        """Return the transform that reads one split."""
        return functools.partial(_scenes, work_folder=self._work_folder)


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(bytes)
def _scenes(
    pipeline: beam.Pipeline, exec_properties: dict[str, Any], split_pattern: str, work_folder: str
):
    split = json.loads(split_pattern)
    values = {**ingest_properties(exec_properties)["ingest"], "records": split}
    config = config_from_mapping(IngestConfig, values, "SceneExampleGen")
    scenes = pipeline | ReadScenes(config, inputs_of(config), work_folder)
    _ = (
        (scenes.counts, scenes.rejects)
        | "CountsAndRejects" >> beam.Flatten()
        | "ByReason" >> beam.Map(_by_reason)
        | "CountByReason" >> beam.CombinePerKey(sum)
        | "AllCounts" >> beam.combiners.ToList()
        | "WriteCounts" >> beam.Map(_write_counts, split, work_folder)
    )
    return scenes.joined | beam.ParDo(SerializeScenes(split["layout"], work_folder))


def ingest_properties(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """Unpack the parameters of a SceneExampleGen.

    Args:
        exec_properties: The execution properties of the component.

    Returns:
        `ingest`, the values of an `IngestConfig`, and `fingerprint`, that of the data.
    """
    custom = tfx.proto.CustomConfig()
    proto_utils.json_to_proto(exec_properties["custom_config"], custom)
    packed = wrappers_pb2.StringValue()
    custom.custom_config.Unpack(packed)
    return json.loads(packed.value)


def data_fingerprint(config: IngestConfig) -> str:
    """Return a digest that changes when the data of an ingestion changes.

    Args:
        config: The ingestion, with `splits`.

    Raises:
        InputError: The source is unknown, or a pattern matches no files.
    """
    if config.source is not None:
        return make_data_set(config.source).fingerprint()
    wanted = {name for split in config.splits.values() for name in split.names}
    patterns: list[str] = []
    for part in (config.parts[name] for name in sorted(wanted)):
        for regions in part.regions:
            patterns += regions.files
        for sentences in part.sentences:
            patterns += sentences.files
    # A set, because all members of an archive have its path.
    return files_fingerprint(sorted({file.path for file in find_inputs(patterns)}))


def files_fingerprint(paths: Iterable[str]) -> str:
    """Return a digest of the names, sizes and modification times of files.

    Args:
        paths: Files on any filesystem that Beam knows.
    """
    facts = [[path, *_size_and_time(path)] for path in paths]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _size_and_time(path: str) -> tuple[int, float]:
    if "://" not in path:
        # Beam would take a name with brackets for a pattern.
        status = os.stat(path)
        return status.st_size, status.st_mtime
    [match] = FileSystems.match([path])
    [metadata] = match.metadata_list
    return metadata.size_in_bytes, metadata.last_updated_in_seconds


def _by_reason(element: ReadCount | Reject) -> tuple[tuple[str, str], int]:
    """Return ((kind, reason), 1) for a reject, and ((kind, ""), count) for what was read."""
    if isinstance(element, ReadCount):
        return (element.kind, ""), element.count
    return (element.kind, element.reason), 1


def _write_counts(counts: list, split: dict[str, Any], folder: str) -> None:
    path = pathlib.Path(folder, f"{uuid.uuid4().hex}{COUNTS}")
    with noting_errors(folder):
        path.write_text(json.dumps({"split": split, "counts": sorted(counts)}), encoding="utf-8")


def _check_rejects(found: dict[str, Any], allowed: float) -> None:
    """Log what was rejected and why; raise GateError if it is too much."""
    counts = {tuple(key): count for key, count in found["counts"]}
    read = {kind: count for (kind, reason), count in counts.items() if not reason}
    rejects = {key: count for key, count in counts.items() if key[1]}
    where = f"split {found['split']['from_']!r}"
    for (kind, reason), count in rejects.items():
        absl_logging.warning("%s: rejected %ss: %d, %s", where, kind, count, reason)
    if UNUSED in read:
        absl_logging.info("%s: images without a sentence, left out: %d", where, read[UNUSED])
    try:
        check_rejects(read, rejects, allowed, "max_reject_fraction")
    except GateError as error:
        raise GateError(f"{where}: {error}") from error
