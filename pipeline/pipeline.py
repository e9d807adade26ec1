"""The TFX pipeline from images or region files to a pushed model."""

import dataclasses
import pathlib
from collections.abc import Sequence

import tensorflow_data_validation as tfdv
from tfx import v1 as tfx
from tfx.dsl.components.base.base_component import BaseComponent

from lxmert_tf.data import schema
from pipeline.beam.job import DIRECT_RUNNER
from pipeline.components.anomaly_gate import (
    AnomalyGate,
    ApprovedStatistics,
    LatestApprovedStrategy,
)
from pipeline.components.infra_validator import infra_validator
from pipeline.components.scene_example_gen import SceneExampleGen, files_fingerprint
from pipeline.config import LoadedPipeline
from pipeline.evaluation import evaluation_config
from pipeline.metadata import connection_config

SCHEMA_FILE = str(pathlib.Path(__file__).parent / "schema" / "scene.pbtxt")
# Import paths, because TFX would package a module file as a wheel for every run.
PRETRAINER_FUNCTION = "pipeline.trainer_modules.pretraining.run_fn"
TRAINER_FUNCTION = "pipeline.trainer_modules.answering.run_fn"
# Adds NLVR's slices to the Evaluator.
STATEMENT_SLICES_MODULE = "pipeline.statement_slices"
# Node names; all other components keep the name of their class.
PRETRAINER = "Pretrainer"
APPROVED_STATISTICS = "approved_statistics"
BLESSED_MODEL = "latest_blessed_model"


def create_pipeline(
    config: LoadedPipeline,
    root: str,
    metadata_path: str,
    push_directory: str,
    schema_file: str = SCHEMA_FILE,
    enable_cache: bool = True,
    beam_args: Sequence[str] = DIRECT_RUNNER,
    workers: int = 1,
) -> tfx.dsl.Pipeline:
    """Build the pipeline without running it.

    Args:
        config: Data, model, training and thresholds.
        root: Folder for artifacts.
        metadata_path: The SQLite file of ML Metadata.
        push_directory: Folder for blessed models, which become numbered versions in it.
        schema_file: The TFDV schema that the examples must match.
        enable_cache: Whether unchanged components reuse the results of earlier runs.
        beam_args: Options of the Beam runner.
        workers: Number of processes that ingest, on this machine.

    Returns:
        The pipeline, ready for a TFX runner.
    """
    return tfx.dsl.Pipeline(
        pipeline_name=config.pipeline.name,
        pipeline_root=root,
        metadata_connection_config=connection_config(metadata_path),
        components=create_components(config, push_directory, schema_file, workers=workers),
        enable_cache=enable_cache,
        beam_pipeline_args=list(beam_args),
    )


def create_components(
    config: LoadedPipeline,
    push_directory: str,
    schema_file: str = SCHEMA_FILE,
    approved_strategy: type[tfx.dsl.experimental.ResolverStrategy] = LatestApprovedStrategy,
    workers: int = 1,
) -> list[BaseComponent]:
    """Build the components of the pipeline.

    Args:
        config: Data, model, training and thresholds.
        push_directory: Folder for blessed models.
        schema_file: The TFDV schema, at its path on the machine that runs the pipeline.
        approved_strategy: How to find the statistics of the last data that passed the gate.
        workers: Number of processes that ingest, on this machine.

    Returns:
        The components in topological order.
    """
    settings = config.pipeline
    example_gen = SceneExampleGen(settings.ingestion, workers)
    examples = example_gen.outputs["examples"]
    statistics_gen = tfx.components.StatisticsGen(
        examples=examples,
        stats_options=tfdv.StatsOptions(feature_allowlist=list(schema.DESCRIPTIVE)),
    )
    schema_gen = tfx.components.ImportSchemaGen(schema_file=schema_file)
    example_validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    approved = tfx.dsl.Resolver(
        strategy_class=approved_strategy,
        approved=tfx.dsl.Channel(type=ApprovedStatistics),
    ).with_id(APPROVED_STATISTICS)
    gate = AnomalyGate(
        anomalies=example_validator.outputs["anomalies"],
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        previous=approved.outputs["approved"],
    )
    trainers = _trainers(config, examples)
    model = trainers[-1].outputs["model"]
    for trainer in trainers:
        # The trainers read nothing that the gate writes, so the order must be explicit.
        trainer.add_upstream_node(gate)
    blessed = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id(BLESSED_MODEL)
    evaluator = tfx.components.Evaluator(
        examples=examples,
        example_splits=["test"],
        model=model,
        baseline_model=blessed.outputs["model"],
        schema=schema_gen.outputs["schema"],
        eval_config=evaluation_config(
            settings.least_accuracy,
            settings.may_drop,
            ignore_case=config.task.task == "statements",
            challenge=config.challenge,
        ),
        module_path=STATEMENT_SLICES_MODULE if config.challenge == "nlvr" else None,
    )
    infra_validators = []
    if settings.infra_validation:
        infra_validators.append(infra_validator(examples, model, settings.infra_validation))
    pusher = tfx.components.Pusher(
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_validators[0].outputs["blessing"] if infra_validators else None,
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=push_directory)
        ),
    )
    return [
        example_gen,
        statistics_gen,
        schema_gen,
        example_validator,
        approved,
        gate,
        *trainers,
        blessed,
        evaluator,
        *infra_validators,
        pusher,
    ]


def _trainers(config: LoadedPipeline, examples) -> list[tfx.components.Trainer]:
    """Build the Trainer of the task, after a pre-training Trainer if there is one."""
    task = dataclasses.asdict(config.task)
    if config.pretraining is None:
        return [_trainer(config, examples, TRAINER_FUNCTION, task)]
    pretraining = dataclasses.asdict(config.pretraining)
    pretrainer = _trainer(
        config, examples, PRETRAINER_FUNCTION, pretraining, splits=config.pretraining_splits
    ).with_id(PRETRAINER)
    base_model = pretrainer.outputs["model"]
    return [pretrainer, _trainer(config, examples, TRAINER_FUNCTION, task, base_model)]


def _trainer(
    config: LoadedPipeline,
    examples,
    run_fn: str,
    stage: dict,
    base_model=None,
    splits: Sequence[str] = ("train",),
):
    return tfx.components.Trainer(
        run_fn=run_fn,
        examples=examples,
        base_model=base_model,
        train_args=tfx.proto.TrainArgs(splits=splits),
        eval_args=tfx.proto.EvalArgs(splits=["validation"]),
        custom_config={
            "model": config.model.to_dict(),
            "task": stage,
            "extractor": config.pipeline.extractor,
            # run_fn does not read it. It keeps TFX from reusing results of an older preset,
            # vocabulary or answer table.
            "fingerprint": _stage_fingerprint(stage),
        },
    )


def _stage_fingerprint(stage: dict) -> str:
    paths = [
        pathlib.Path(stage[key]) for key in ("init_from", "vocabulary", "answers") if stage[key]
    ]
    files = [file for path in paths for file in sorted({path, *path.rglob("*")}) if file.is_file()]
    return files_fingerprint(map(str, files))
