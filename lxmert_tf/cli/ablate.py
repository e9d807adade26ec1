"""`lxmert ablate`: compare variants of pre-training."""

import argparse

from lxmert_tf.cli.arguments import (
    add_data_arguments,
    add_override_argument,
    read_model_config,
)
from lxmert_tf.runtime import keep_freed_memory, prefer_onednn

# What a key of `--set` begins with if it changes the file of `--task`.
_TASK = "task."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="the variants, such as configs/ablation/vision_tasks.yaml",
    )
    parser.add_argument(
        "--pretraining", required=True, metavar="FILE", help="how to pre-train each variant"
    )
    parser.add_argument("--task", required=True, metavar="FILE", help="how to fine-tune each")
    add_override_argument(parser, "batch_size=64, or task.epochs=2 in that of --task")
    add_data_arguments(parser)
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="directory with a folder for each variant; a second call resumes",
    )


def run(args: argparse.Namespace) -> int:
    """Train and measure the variants that have no result yet, and print the table."""
    from lxmert_tf.config_file import load_config
    from lxmert_tf.errors import InputError
    from lxmert_tf.training.config import AblationConfig, FinetuningConfig, PretrainingConfig

    of_task = [change for change in args.overrides if change.startswith(_TASK)]
    of_pretraining = [change for change in args.overrides if not change.startswith(_TASK)]
    task = load_config(FinetuningConfig, args.task, of_task, prefix=_TASK)
    variants = {
        name: None
        if changes is None
        else load_config(PretrainingConfig, args.pretraining, [*of_pretraining, *changes])
        for name, changes in load_config(AblationConfig, args.config).variants.items()
    }
    model_config = read_model_config(args)
    if not args.validation:
        raise InputError("--validation is missing; accuracy is measured on its records")
    keep_freed_memory()
    prefer_onednn()

    from lxmert_tf.data.batches import find_records
    from lxmert_tf.training.ablation import AblationRun, print_ablation, run_ablation

    common = AblationRun(
        find_records(*args.train), find_records(*args.validation), model_config, task
    )
    print_ablation(run_ablation(variants, common, args.output))
    return 0
