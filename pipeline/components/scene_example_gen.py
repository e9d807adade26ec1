"""The TFX component that ingests: an ExampleGen whose records are scenes."""

import dataclasses
import functools
import json
import logging
import tempfile
from typing import Any

import apache_beam as beam
from google.protobuf import wrappers_pb2
from tfx import v1 as tfx
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.components.example_gen.component import QueryBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.utils import proto_utils

from pipeline.ingest.config import IngestConfig, SplitConfig
from pipeline.ingest.region_store import RegionFiles
from pipeline.ingest.scene_records import records_of
from pipeline.ingest.scenes import REJECT, SCENE, ReadScenes, unpacked_scene
from pipeline.ingest.sources.registry import make_data_set


class SceneExampleGen(QueryBasedExampleGen):
    """Ingests splits of a source, by the same transform as `lxmert ingest`.

    Args:
        source: which data set.
        splits: what becomes which split of the examples.
        extractor: the config of what makes regions of its pictures.
    """

    def __init__(self, source: str, splits: dict[str, SplitConfig], extractor: dict[str, Any]):
        proto = tfx.proto
        inputs = [
            proto.Input.Split(name=name, pattern=json.dumps(dataclasses.asdict(split)))
            for name, split in splits.items()
        ]
        what = {
            "source": source,
            "extractor": extractor,
            # In the properties of the execution, so that newer data is not served from the cache.
            "fingerprint": make_data_set(source).fingerprint(),
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

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        """What TFX foresees for an input of one's own."""
        return functools.partial(_scenes, work_folder=self._work_folder)


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(bytes)
def _scenes(
    pipeline: beam.Pipeline, exec_properties: dict[str, Any], split_pattern: str, work_folder: str
):
    custom = tfx.proto.CustomConfig()
    proto_utils.json_to_proto(exec_properties["custom_config"], custom)
    packed = wrappers_pb2.StringValue()
    custom.custom_config.Unpack(packed)
    what = json.loads(packed.value)
    split = json.loads(split_pattern)
    records = SplitConfig(**{**split, "percent": tuple(split["percent"])})
    config = IngestConfig(what["source"], records, what["extractor"])
    return (
        pipeline
        | "ReadScenes" >> ReadScenes(config, work_folder)
        | "Serialized" >> beam.ParDo(_Serialize(records.layout))
    )


class _Serialize(beam.DoFn):
    """Joined scenes to records; what was left out is logged."""

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
        elif tag == REJECT:
            logging.warning("left out: %s", json.dumps(value._asdict()))
