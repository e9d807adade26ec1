"""`lxmert finetune`: a model for VQA, GQA, NLVR2 or one's own questions."""

import argparse

from lxmert_tf.commands.training_arguments import (
    add_training_arguments,
    model_config_of,
    overrides_of,
)

SUMMARY = "fine-tune a model on questions or statements"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    add_training_arguments(parser, "configs/task/vqa.yaml")


def run(args: argparse.Namespace) -> int:
    """Trains, and writes the preset."""
    from lxmert_tf.config_file import load_config
    from lxmert_tf.training.config import FinetuningConfig

    # Before TensorFlow is imported, which takes seconds.
    config = load_config(FinetuningConfig, args.config, overrides_of(args))
    model_config = model_config_of(args)

    from lxmert_tf.data.extractor_file import read_extractor
    from lxmert_tf.data.reading import find_records
    from lxmert_tf.training.finetuning import finetune

    train_files = find_records(*args.train)
    finetune(
        train_files,
        find_records(*args.validation),
        config,
        model_config,
        extractor=read_extractor(train_files),
        directory=args.output,
        resume=args.resume,
    )
    print(f"preset: {args.output}/preset")
    return 0
