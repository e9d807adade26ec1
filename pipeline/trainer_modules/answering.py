"""The `run_fn` of the Trainer component for questions and for statements."""

import contextlib
import dataclasses
import os
import shutil
import time

from tfx import v1 as tfx

from lxmert_tf.config_file import config_from_mapping
from lxmert_tf.data.batches import find_records
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.serving.export import EXTRA, export_answer_model
from lxmert_tf.serving.model_card import write_model_card
from lxmert_tf.serving.warmup import write_warmup
from lxmert_tf.training.config import FinetuningConfig
from lxmert_tf.training.finetune import finetune
from pipeline.trainer_modules.artifacts import read_folder, write_training_summary, written_folder

PRESET = "preset"


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Fine-tune, and write the SavedModel (with warm-up requests and model card) and the preset.

    Args:
        fn_args: TFX's arguments, with the `custom_config` of `pipeline.pipeline`. Training starts
            from the preset `base_model`, if there is one.
    """
    config = fn_args.custom_config
    task = config_from_mapping(FinetuningConfig, config["task"], "task")
    with contextlib.ExitStack() as stack:
        if fn_args.base_model:
            preset = stack.enter_context(read_folder(fn_args.base_model))
            task = dataclasses.replace(task, init_from=str(preset))
        uri, name = os.path.split(fn_args.serving_model_dir)
        artifact = stack.enter_context(written_folder(uri))
        log_directory = stack.enter_context(written_folder(fn_args.model_run_dir))
        started = time.monotonic()
        model, _ = finetune(
            train_files=find_records(*fn_args.train_files),
            validation_files=find_records(*fn_args.eval_files),
            config=task,
            model_config=config_from_mapping(LxmertConfig, config["model"], "model"),
            extractor=config["extractor"],
            log_directory=log_directory,
        )
        seconds = time.monotonic() - started
        served = artifact / name
        export_answer_model(model, served, task.max_length)
        write_warmup(served, model)
        write_model_card(served, model, dataclasses.asdict(task), seconds)
        model.save_preset(artifact / PRESET)
        # The Pusher copies only the SavedModel, and a pushed version can be trained further.
        shutil.copytree(artifact / PRESET, served / EXTRA / PRESET)
        write_training_summary(artifact, seconds)
