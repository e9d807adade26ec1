"""New scenes answered by the newest blessed model: a TFX graph, and the file to hand in."""

import dataclasses
import pathlib
from collections.abc import Iterator

import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tfx import v1 as tfx

from lxmert_tf.data import schema
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.submissions import write_submission
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import describe_preset
from pipeline.components.scene_example_gen import SceneExampleGen
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.inputs import check_scenes
from pipeline.pipeline import BEAM_ARGS
from pipeline.run_record import open_metadata, property_of, read_last_run
from pipeline.runners.local import METADATA, progress
from pipeline.trainer_modules.answering import PRESET

NAME = "predict"


def predict(root, data: IngestConfig, split: str, task: str, output) -> int:
    """Ingests a split, answers its questions and writes the submission file.

    Args:
        root: of the pipeline whose newest blessed model answers; the run is kept there, too.
        data: the files or the source, with `splits`.
        split: one of them; its layout does not matter.
        task: "vqa", "gqa" or "nlvr2": whose submission.
        output: the file.

    Returns:
        the number of questions.

    Raises:
        InputError: no model was blessed there, the split is unknown or not of as many images as the
            model reads, an image that a question is about is missing, or an id is not one of the
            task.
    """
    root = pathlib.Path(root).resolve()
    if split not in data.splits:
        raise InputError(f"--split {split}: there are {', '.join(data.splits) or 'none'}")
    records = dataclasses.replace(data.splits[split], layout="flat")
    data = dataclasses.replace(data, splits={NAME: records}, records=None)
    metadata = str(root / METADATA)
    model = blessed_model(metadata)
    _check_model_reads(data, model)
    graph = prediction_graph(data, model, str(root), metadata)
    with progress():
        tfx.orchestration.LocalDagRunner().run(graph)
    results = read_last_run(metadata).uris["BulkInferrer", "inference_result"]
    answers = dict(read_answers(results))
    write_submission(task, answers, output)
    return len(answers)


def prediction_graph(
    data: IngestConfig, model: str, root: str, metadata_path: str
) -> tfx.dsl.Pipeline:
    """Builds the graph; runs nothing.

    Args:
        data: where the scenes come from, with one split, flat.
        model: where the model artifact lies.
        root, metadata_path: as of `create_pipeline`.
    """
    example_gen = SceneExampleGen(data)
    # By its place, so that ML Metadata knows it for the model that was trained.
    importer = tfx.dsl.Importer(
        source_uri=model, artifact_type=tfx.types.standard_artifacts.Model
    ).with_id("blessed_model")
    inferrer = tfx.components.BulkInferrer(
        examples=example_gen.outputs["examples"],
        model=importer.outputs["result"],
        model_spec=tfx.proto.ModelSpec(model_signature_name=["serve_examples"]),
    )
    return tfx.dsl.Pipeline(
        pipeline_name=NAME,
        pipeline_root=str(pathlib.Path(root) / NAME),
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            metadata_path
        ),
        components=[example_gen, importer, inferrer],
        enable_cache=True,
        beam_pipeline_args=list(BEAM_ARGS),
    )


def blessed_model(metadata_path: str) -> str:
    """Where the newest blessed model lies, as an artifact.

    Raises:
        InputError: no pipeline has run there, or none of its models was blessed.
    """
    store = open_metadata(metadata_path)
    blessings = sorted(store.get_artifacts_by_type("ModelBlessing"), key=lambda one: -one.id)
    for blessing in blessings:
        if property_of(blessing, "blessed") != 1:
            continue
        [made, *_] = store.get_events_by_artifact_ids([blessing.id])
        for event in store.get_events_by_execution_ids([made.execution_id]):
            is_input = event.type == metadata_store_pb2.Event.INPUT
            if is_input and event.path.steps[0].key == "model":
                return store.get_artifacts_by_id([event.artifact_id])[0].uri
    raise InputError(f"{metadata_path}: no model was blessed there; run the pipeline first")


def _check_model_reads(data: IngestConfig, model: str) -> None:
    name = describe_preset(pathlib.Path(model) / PRESET).model
    pairs = name == LxmertPairClassifier.__name__
    check_scenes(data, f"the blessed {name}", LxmertPairClassifier.images_per_scene if pairs else 1)


def read_answers(uri: str) -> Iterator[tuple[str, str]]:
    """(sentence id, best answer) out of a BulkInferrer's results."""
    files = sorted(str(path) for path in pathlib.Path(uri).glob("*.gz"))
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log
        [(_, request)] = log.request.inputs.items()
        example = tf.train.Example.FromString(request.string_val[0])
        [sentence] = example.features.feature[schema.SENTENCE_ID].bytes_list.value
        yield sentence.decode(), log.response.outputs["answers"].string_val[0].decode()
