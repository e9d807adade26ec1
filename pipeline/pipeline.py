"""The TFX graph: from pictures to a pushed model."""

import dataclasses
import pathlib

from tfx import v1 as tfx
from tfx.dsl.components.base.base_component import BaseComponent

from lxmert_tf.data import schema
from pipeline.components.anomaly_gate import (
    AnomalyGate,
    ApprovedStatistics,
    LatestApprovedStrategy,
)
from pipeline.components.file_fingerprint import folder_fingerprint
from pipeline.components.scene_example_gen import SceneExampleGen
from pipeline.config import LoadedPipeline
from pipeline.evaluation import evaluation_config
from pipeline.infra_validation import infra_validator

SCHEMA_FILE = pathlib.Path(__file__).parent / "schema" / "scene.pbtxt"
BEAM_ARGS = ("--runner=DirectRunner", "--direct_running_mode=in_memory")
# By import path: a module file would be packed into a wheel for every run.
PRETRAINER_FUNCTION = "pipeline.trainer_modules.pretraining.run_fn"
TRAINER_FUNCTION = "pipeline.trainer_modules.answering.run_fn"
# The Trainer that makes what the other one starts from.
PRETRAINER = "Pretrainer"
# The node that finds the statistics of the data that was trained on last.
APPROVED_STATISTICS = "approved_statistics"
# The node that finds the model to compare with.
BLESSED_MODEL = "latest_blessed_model"


def create_pipeline(
    config: LoadedPipeline,
    root: str,
    metadata_path: str,
    push_directory: str,
    enable_cache: bool = True,
) -> tfx.dsl.Pipeline:
    """Builds the graph; runs nothing.

    Args:
        config: what the pipeline does.
        root: where artifacts are kept.
        metadata_path: the sqlite file of ML Metadata.
        push_directory: where blessed models go, as numbered versions.
        enable_cache: whether what did not change is taken from earlier runs.
    """
    return tfx.dsl.Pipeline(
        pipeline_name=config.pipeline.name,
        pipeline_root=root,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            metadata_path
        ),
        components=create_components(config, push_directory),
        enable_cache=enable_cache,
        beam_pipeline_args=list(BEAM_ARGS),
    )


def create_components(
    config: LoadedPipeline,
    push_directory: str,
    schema_file: str | None = None,
    approved_strategy: type[tfx.dsl.experimental.ResolverStrategy] = LatestApprovedStrategy,
) -> list[BaseComponent]:
    """The components, in the order in which they can run.

    Args:
        config: what the pipeline does.
        push_directory: where blessed models go.
        schema_file: as the one who runs it sees it; None for this machine.
        approved_strategy: how the statistics of the last run are found.
    """
    settings = config.pipeline
    example_gen = SceneExampleGen(settings.ingestion)
    examples = example_gen.outputs["examples"]
    statistics_gen = tfx.components.StatisticsGen(
        examples=examples, stats_options=_statistics_options()
    )
    schema_gen = tfx.components.ImportSchemaGen(schema_file=schema_file or str(SCHEMA_FILE))
    validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    approved = tfx.dsl.Resolver(
        strategy_class=approved_strategy,
        approved=tfx.dsl.Channel(type=ApprovedStatistics),
    ).with_id(APPROVED_STATISTICS)
    gate = AnomalyGate(
        anomalies=validator.outputs["anomalies"],
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        previous=approved.outputs["approved"],
    )
    trainers = []
    if config.pretraining:
        trainers.append(
            _trainer(
                config, examples, PRETRAINER_FUNCTION, dataclasses.asdict(config.pretraining)
            ).with_id(PRETRAINER)
        )
    base_model = trainers[0].outputs["model"] if trainers else None
    trainer = _trainer(
        config, examples, TRAINER_FUNCTION, dataclasses.asdict(config.task), base_model
    )
    trainers.append(trainer)
    # They don't read what the gate makes: its own order is what they need.
    for one in trainers:
        one.add_upstream_node(gate)
    model = trainer.outputs["model"]
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
        ),
    )
    validators = []
    if settings.infra_validation:
        validators.append(infra_validator(examples, model, settings.infra_validation))
    pusher = tfx.components.Pusher(
        model=model,
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=validators[0].outputs["blessing"] if validators else None,
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=push_directory)
        ),
    )
    return [
        example_gen,
        statistics_gen,
        schema_gen,
        validator,
        approved,
        gate,
        *trainers,
        blessed,
        evaluator,
        *validators,
        pusher,
    ]


def _trainer(config: LoadedPipeline, examples, run_fn: str, task: dict, base_model=None):
    return tfx.components.Trainer(
        run_fn=run_fn,
        examples=examples,
        base_model=base_model,
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["validation"]),
        custom_config={
            "model": config.model.to_dict(),
            "task": task,
            "extractor": config.pipeline.extractor,
            # Not read by run_fn: a newer preset or table is not to be served from the cache.
            "fingerprint": folder_fingerprint(
                task[name] for name in ("init_from", "vocabulary", "answers")
            ),
        },
    )


def _statistics_options():
    import tensorflow_data_validation as tfdv

    return tfdv.StatsOptions(feature_allowlist=list(schema.DESCRIPTIVE))
