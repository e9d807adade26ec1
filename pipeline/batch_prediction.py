"""Batch prediction: a TFX pipeline that answers new questions with the last blessed model."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tfx import v1 as tfx

from lxmert_tf.data import schema
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.submissions import write_submission
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.models.presets import describe_preset
from pipeline.beam.job import DIRECT_RUNNER
from pipeline.components.scene_example_gen import SceneExampleGen
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.inputs import check_scenes
from pipeline.metadata import connection_config, latest_blessed_model
from pipeline.root_files import METADATA_FILE
from pipeline.run_record import read_last_run
from pipeline.runners.local import printed_progress
from pipeline.trainer_modules.answering import PRESET

# The name of the pipeline, of its folder and of its only split.
NAME = "predict"


def predict(root, data: IngestConfig, split: str, task: str, output) -> int:
    """Ingest a split, answer its questions and write a submission file.

    Args:
        root: The root of the pipeline that blessed a model; this run is recorded there, too.
        data: The ingestion, with `splits`.
        split: The split to answer.
        task: "vqa", "gqa", "nlvr" or "nlvr2", which sets the format of the submission.
        output: The file to write.

    Returns:
        The number of answers.

    Raises:
        InputError: There is no blessed model or no such split, the scenes have another number of
            images than the model reads, an image is missing, or an id is not valid for the task.
    """
    root = pathlib.Path(root).resolve()
    if split not in data.splits:
        names = ", ".join(data.splits)
        hint = f"it must be one of {names}" if names else "the data has no splits"
        raise InputError(f"unknown split {split!r}; {hint}")
    records = dataclasses.replace(data.splits[split], layout="flat")
    data = dataclasses.replace(data, splits={NAME: records}, records=None)
    metadata_path = str(root / METADATA_FILE)
    model = latest_blessed_model(metadata_path)
    _check_images_per_scene(data, model)
    pipeline = create_prediction_pipeline(data, model, str(root), metadata_path)
    with printed_progress():
        tfx.orchestration.LocalDagRunner().run(pipeline)
    results = read_last_run(metadata_path).uris["BulkInferrer", "inference_result"]
    answers = dict(read_answers(results))
    write_submission(task, answers, output)
    return len(answers)


def create_prediction_pipeline(
    data: IngestConfig,
    model: str,
    root: str,
    metadata_path: str,
    beam_args: Sequence[str] = DIRECT_RUNNER,
) -> tfx.dsl.Pipeline:
    """Build the prediction pipeline without running it.

    Args:
        data: The ingestion, with one flat split.
        model: URI of the model artifact.
        root: Folder for artifacts.
        metadata_path: The SQLite file of ML Metadata.
        beam_args: Options of the Beam runner.
    """
    example_gen = SceneExampleGen(data)
    # Imported by URI, so that ML Metadata recognizes the model that was trained.
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
        metadata_connection_config=connection_config(metadata_path),
        components=[example_gen, importer, inferrer],
        enable_cache=True,
        beam_pipeline_args=list(beam_args),
    )


def _check_images_per_scene(data: IngestConfig, model: str) -> None:
    name = describe_preset(pathlib.Path(model) / PRESET).model
    pairs = name == LxmertPairClassifier.__name__
    check_scenes(data, f"the blessed {name}", LxmertPairClassifier.images_per_scene if pairs else 1)


def read_answers(uri: str) -> Iterator[tuple[str, str]]:
    """Yield (sentence id, best answer) from the results of a BulkInferrer."""
    files = sorted(str(path) for path in pathlib.Path(uri).glob("*.gz"))
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP"):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log
        [(_, request)] = log.request.inputs.items()
        example = tf.train.Example.FromString(request.string_val[0])
        [sentence] = example.features.feature[schema.SENTENCE_ID].bytes_list.value
        yield sentence.decode(), log.response.outputs["answers"].string_val[0].decode()
