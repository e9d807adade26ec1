"""The Trainer's `run_fn` for answer models."""

import json
import pathlib
import time

from tfx import v1 as tfx

from lxmert_tf.config import LxmertConfig
from lxmert_tf.config_file import config_from_mapping
from lxmert_tf.data.reading import find_records
from lxmert_tf.serving.export import export_answer_model
from lxmert_tf.training.answering import train_answer_model
from lxmert_tf.training.config import AnsweringConfig

PRESET = "preset"
TRAINING_SUMMARY = "training.json"


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Trains, then writes the SavedModel, and beside it the preset.

    Args:
        fn_args: with `custom_config` as `custom_config` makes it.
    """
    config = fn_args.custom_config
    task = config_from_mapping(AnsweringConfig, config["task"], "task")
    started = time.monotonic()
    model = train_answer_model(
        train_files=find_records(*fn_args.train_files),
        validation_files=find_records(*fn_args.eval_files),
        model_config=config_from_mapping(LxmertConfig, config["model"], "model"),
        task=task,
        extractor=config["extractor"],
        log_directory=fn_args.model_run_dir,
    )
    seconds = time.monotonic() - started
    export_answer_model(model, fn_args.serving_model_dir, task.max_length)
    artifact = pathlib.Path(fn_args.serving_model_dir).parent
    model.save_preset(artifact / PRESET)
    summary = json.dumps({"train_seconds": round(seconds, 1)}) + "\n"
    (artifact / TRAINING_SUMMARY).write_text(summary, encoding="utf-8")


def read_training_summary(artifact_uri: str) -> dict[str, float]:
    """What `run_fn` wrote beside the model: `train_seconds`."""
    return json.loads((pathlib.Path(artifact_uri) / TRAINING_SUMMARY).read_text(encoding="utf-8"))
