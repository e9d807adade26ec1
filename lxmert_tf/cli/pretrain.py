"""`lxmert pretrain`: the five pre-training tasks on records of images and sentences."""

import argparse

from lxmert_tf.cli.arguments import add_training_arguments, run_training_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    add_training_arguments(parser, "configs/pretraining/one_stage.yaml")


def run(args: argparse.Namespace) -> int:
    """Trains, and writes the preset."""
    from lxmert_tf.training.config import PretrainingConfig

    return run_training_command(args, PretrainingConfig, _pretrain)


def _pretrain():
    from lxmert_tf.training.pretrain import pretrain

    return pretrain
