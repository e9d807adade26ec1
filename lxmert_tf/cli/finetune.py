"""`lxmert finetune`: train a model on VQA, GQA, NLVR2, or other questions and statements."""

import argparse

from lxmert_tf.cli.arguments import (
    add_training_arguments,
    read_training_configs,
    training_arguments,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    add_training_arguments(parser, "configs/task/vqa.yaml")


def run(args: argparse.Namespace) -> int:
    """Train, and write the preset."""
    from lxmert_tf.training.config import FinetuningConfig

    config, model_config = read_training_configs(args, FinetuningConfig)

    from lxmert_tf.training.finetune import finetune

    finetune(config=config, model_config=model_config, **training_arguments(args))
    print(f"preset: {args.output}/preset")
    return 0
