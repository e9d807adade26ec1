"""The `run_fn` of the Trainer component that pre-trains."""

import os
import time

from tfx import v1 as tfx

from lxmert_tf.config_file import config_from_mapping
from lxmert_tf.data.batches import find_records
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.training.config import PretrainingConfig
from lxmert_tf.training.pretrain import pretrain
from pipeline.trainer_modules.artifacts import write_training_summary, written_folder


def run_fn(fn_args: tfx.components.FnArgs) -> None:
    """Pre-train, and write the preset in place of a SavedModel, because the model is not served.

    Args:
        fn_args: TFX's arguments, with the `custom_config` of `pipeline.pipeline`.
    """
    config = fn_args.custom_config
    uri, name = os.path.split(fn_args.serving_model_dir)
    with written_folder(uri) as artifact, written_folder(fn_args.model_run_dir) as log_directory:
        started = time.monotonic()
        model = pretrain(
            train_files=find_records(*fn_args.train_files),
            validation_files=find_records(*fn_args.eval_files),
            config=config_from_mapping(PretrainingConfig, config["task"], "pretraining"),
            model_config=config_from_mapping(LxmertConfig, config["model"], "model"),
            extractor=config["extractor"],
            log_directory=log_directory,
        )
        model.save_preset(artifact / name)
        write_training_summary(artifact, time.monotonic() - started)
