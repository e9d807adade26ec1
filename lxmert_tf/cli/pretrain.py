"""`lxmert pretrain`: train a model on the five pre-training tasks."""

import argparse

from lxmert_tf.cli.arguments import (
    add_training_arguments,
    read_training_configs,
    training_arguments,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    add_training_arguments(parser, "configs/pretraining/one_stage.yaml")


def run(args: argparse.Namespace) -> int:
    """Train, and write the preset."""
    from lxmert_tf.training.config import PretrainingConfig

    config, model_config = read_training_configs(args, PretrainingConfig)

    from lxmert_tf.training.pretrain import pretrain

    pretrain(config=config, model_config=model_config, **training_arguments(args))
    print(f"preset: {args.output}/preset")
    return 0
