"""The TFX component that ingests: an ExampleGen whose records are scenes."""

import dataclasses
import json
import logging
from typing import Any

import apache_beam as beam
from google.protobuf import wrappers_pb2
from tfx import v1 as tfx
from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor
from tfx.components.example_gen.component import QueryBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.utils import proto_utils

from pipeline.ingest.config import SplitConfig
from pipeline.ingest.scenes import RECORD, ReadScenes
from pipeline.ingest.sources.registry import make_source


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
            "fingerprint": make_source(source).fingerprint(),
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

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:
        """What TFX foresees for an input of one's own."""
        return _scenes


@beam.ptransform_fn
@beam.typehints.with_input_types(beam.Pipeline)
@beam.typehints.with_output_types(bytes)
def _scenes(pipeline: beam.Pipeline, exec_properties: dict[str, Any], split_pattern: str):
    custom = tfx.proto.CustomConfig()
    proto_utils.json_to_proto(exec_properties["custom_config"], custom)
    packed = wrappers_pb2.StringValue()
    custom.custom_config.Unpack(packed)
    what = json.loads(packed.value)
    split = json.loads(split_pattern)
    records = SplitConfig(**{**split, "percent": tuple(split["percent"])})
    return (
        pipeline
        | "ReadScenes" >> ReadScenes(what["source"], records, what["extractor"])
        | "Serialized" >> beam.FlatMap(_serialized)
    )


def _serialized(element):
    tag, value = element
    if tag == RECORD:
        yield value.serialized
    else:
        logging.warning("left out: %s", json.dumps(value))
