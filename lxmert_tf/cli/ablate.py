"""`lxmert ablate`: variants of pre-training, each fine-tuned and measured."""

import argparse

from lxmert_tf.cli.arguments import (
    add_data_arguments,
    add_override_argument,
    model_config_of,
)
from lxmert_tf.runtime import keep_freed_memory, prefer_onednn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="the variants, such as configs/ablation/vision_tasks.yaml",
    )
    parser.add_argument(
        "--pretraining", required=True, metavar="FILE", help="how to pre-train each of them"
    )
    parser.add_argument("--task", required=True, metavar="FILE", help="how to fine-tune each")
    add_override_argument(parser)
    add_data_arguments(parser)
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="a folder a variant; a second call goes on"
    )


def run(args: argparse.Namespace) -> int:
    """Trains and measures what is not measured yet, and prints the table."""
    from lxmert_tf.config_file import load_config
    from lxmert_tf.errors import InputError
    from lxmert_tf.training.config import FinetuningConfig, PretrainingConfig

    task = load_config(FinetuningConfig, args.task)
    if not args.validation:
        raise InputError("name records to measure on with --validation")
    keep_freed_memory()
    prefer_onednn()

    from lxmert_tf.data.batches import find_records
    from lxmert_tf.training.ablation import (
        AblationConfig,
        AblationRun,
        print_ablation,
        run_ablation,
    )

    variants = {
        name: None
        if changes is None
        else load_config(PretrainingConfig, args.pretraining, [*args.overrides, *changes])
        for name, changes in load_config(AblationConfig, args.config).variants.items()
    }
    common = AblationRun(
        find_records(*args.train), find_records(*args.validation), model_config_of(args), task
    )
    print_ablation(run_ablation(variants, common, args.output))
    return 0
