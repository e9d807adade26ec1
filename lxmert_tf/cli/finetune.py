"""`lxmert finetune`: train a model on VQA, GQA, NLVR2, or other questions and statements."""

import argparse

from lxmert_tf.cli.arguments import (
    add_pictures_argument,
    add_training_arguments,
    read_training_configs,
    training_arguments,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    add_training_arguments(parser, "configs/task/vqa.yaml")
    add_pictures_argument(parser, "TensorBoard shows with the answers of each epoch")


def run(args: argparse.Namespace) -> int:
    """Train, and write the preset."""
    from lxmert_tf.training.config import FinetuningConfig

    config, model_config = read_training_configs(args, FinetuningConfig)

    from lxmert_tf.regions.picture_finder import PictureFinder
    from lxmert_tf.training.finetune import finetune

    pictures = PictureFinder(args.pictures)
    finetune(
        config=config, model_config=model_config, pictures=pictures, **training_arguments(args)
    )
    print(f"preset: {args.output}/preset")
    return 0
