"""The TFX component that ingests: an ExampleGen whose records are scenes."""

import dataclasses
import functools
import json
import pathlib
import tempfile
import uuid
from typing import Any

import apache_beam as beam
from absl import logging as absl_logging
from google.protobuf import wrappers_pb2
from tfx import v1 as tfx
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.components.example_gen.component import QueryBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.utils import proto_utils

from lxmert_tf.config_file import config_from_mapping
from lxmert_tf.errors import GateError
from pipeline.components.file_fingerprint import data_fingerprint
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.region_store import RegionFiles
from pipeline.ingest.scenes import READ, REJECT, SCENE, ReadScenes, records_of, unpacked_scene

# How the file ends in which a split leaves what it read and left out.
COUNTS = ".counts.json"


class SceneExampleGen(QueryBasedExampleGen):
    """Ingests splits of a source or of files, by the same transform as `lxmert ingest`.

    Args:
        config: with `splits`: what becomes which split of the examples.

    Raises:
        InputError: the source is not known, or a file is missing.
    """

    def __init__(self, config: IngestConfig):
        proto = tfx.proto
        inputs = [
            proto.Input.Split(name=name, pattern=json.dumps(dataclasses.asdict(split)))
            for name, split in config.splits.items()
        ]
        what = {
            "ingest": {**dataclasses.asdict(config), "splits": {}},
            # In the properties of the execution, so that newer data is not served from the cache.
            "fingerprint": data_fingerprint(config),
        }
        custom = proto.CustomConfig()
        # A string, since a protobuf Struct would turn the extractor's integers into floats.
        custom.custom_config.Pack(wrappers_pb2.StringValue(value=json.dumps(what)))
        super().__init__(
            input_config=proto.Input(splits=inputs),
            custom_config=custom,
            custom_executor_spec=executor_spec.BeamExecutorSpec(SceneExampleGenExecutor),
        )


class SceneExampleGenExecutor(BaseExampleGenExecutor):
    """Runs `ReadScenes` for every split."""

    def Do(self, input_dict, output_dict, exec_properties):
        """As TFX's, with a folder for the regions while it runs."""
        with tempfile.TemporaryDirectory(prefix="regions-") as folder:
            self._work_folder = folder
            super().Do(input_dict, output_dict, exec_properties)
            allowed = ingest_properties(exec_properties)["ingest"]["max_reject_fraction"]
            for path in sorted(pathlib.Path(folder).glob(f"*{COUNTS}")):
                _check_rejects(json.loads(path.read_text(encoding="utf-8")), allowed)

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        """What TFX foresees for an input of one's own."""
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
    scenes = pipeline | "ReadScenes" >> ReadScenes(config, work_folder)
    _ = (
        scenes
        | "ByReason" >> beam.FlatMap(_by_reason)
        | "CountByReason" >> beam.CombinePerKey(sum)
        | "AllCounts" >> beam.combiners.ToList()
        | "WriteCounts" >> beam.Map(_write_counts, split, work_folder)
    )
    return scenes | "Serialized" >> beam.ParDo(_Serialize(config.records.layout))


def ingest_properties(exec_properties: dict[str, Any]) -> dict[str, Any]:
    """What a SceneExampleGen was told: `ingest`, the configuration, and the data's fingerprint."""
    custom = tfx.proto.CustomConfig()
    proto_utils.json_to_proto(exec_properties["custom_config"], custom)
    packed = wrappers_pb2.StringValue()
    custom.custom_config.Unpack(packed)
    return json.loads(packed.value)


def _by_reason(element: tuple[str, Any]):
    """((kind, reason), how many) of what was left out, and under no reason what was read."""
    tag, value = element
    if tag == READ:
        kind, count = value
        yield (kind, ""), count
    elif tag == REJECT:
        yield (value.kind, value.reason), 1


def _write_counts(counts: list, split: dict[str, Any], folder: str) -> None:
    path = pathlib.Path(folder, f"{uuid.uuid4().hex}{COUNTS}")
    path.write_text(json.dumps({"split": split, "counts": sorted(counts)}), encoding="utf-8")


def _check_rejects(found: dict[str, Any], allowed: float) -> None:
    """Says what was left out and why; GateError if it is too much."""
    counts = {tuple(key): count for key, count in found["counts"]}
    where = f"of the split {found['split']['split']}"
    for (kind, reason), count in counts.items():
        if reason:
            absl_logging.warning("left out %s: %d %ss: %s", where, count, kind, reason)
    for kind in ("image", "sentence"):
        read = counts.get((kind, ""), 0)
        reasons = {reason: n for (k, reason), n in counts.items() if k == kind and reason}
        rejected = sum(reasons.values())
        if rejected > allowed * read:
            commonest = max(reasons, key=reasons.get)
            raise GateError(
                f"{rejected:,} of {read:,} {kind}s {where} were rejected, more than the "
                f"{allowed:.2%} of max_reject_fraction; the commonest reason "
                f"({reasons[commonest]:,} times): {commonest}"
            )


class _Serialize(beam.DoFn):
    """Joined scenes to records."""

    def __init__(self, layout: str):
        self._layout = layout

    def start_bundle(self):
        self._store = RegionFiles()

    def finish_bundle(self):
        self._store.close()

    def process(self, element):
        tag, value = element
        if tag == SCENE:
            yield from records_of(unpacked_scene(value), self._store, self._layout)
