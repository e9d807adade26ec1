"""`lxmert finetune`: a model for VQA, GQA, NLVR2 or one's own questions."""

import argparse

from lxmert_tf.cli.arguments import add_training_arguments, run_training_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    add_training_arguments(parser, "configs/task/vqa.yaml")


def run(args: argparse.Namespace) -> int:
    """Trains, and writes the preset."""
    from lxmert_tf.training.config import FinetuningConfig

    return run_training_command(args, FinetuningConfig, _finetune)


def _finetune():
    from lxmert_tf.training.finetune import finetune

    return finetune
