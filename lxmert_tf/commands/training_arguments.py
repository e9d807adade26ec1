"""What the commands that train have in common: the command line, and the way from it to a run."""

import argparse
from collections.abc import Callable

from lxmert_tf.commands.record_arguments import RECORDS
from lxmert_tf.onednn import prefer_onednn


def add_training_arguments(parser: argparse.ArgumentParser, configs: str) -> None:
    """Declares the options that say what is trained on what, and where the run is kept.

    Args:
        parser: the command's.
        configs: an example of its configuration.
    """
    parser.add_argument(
        "--config", required=True, metavar="FILE", help=f"how to train, such as {configs}"
    )
    add_override_argument(parser)
    add_data_arguments(parser)
    parser.add_argument(
        "--init-from", metavar="PRESET", help="a preset to start from, instead of from scratch"
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="checkpoints, log and, at the end, preset/"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output")


def add_override_argument(parser: argparse.ArgumentParser) -> None:
    """Declares `--set`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="a value instead of the file's, such as batch_size=64; may be repeated",
    )


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the records and the sizes of a model from scratch."""
    parser.add_argument("--train", required=True, nargs="+", metavar="GLOB", help=RECORDS)
    parser.add_argument(
        "--validation", nargs="+", default=[], metavar="GLOB", help="to measure after each epoch"
    )
    parser.add_argument(
        "--model-config",
        metavar="FILE",
        help="the sizes of a model from scratch (default: as published)",
    )


def run_training_command(args: argparse.Namespace, config_class: type, load: Callable) -> int:
    """Reads the configuration, trains, and says where the preset is.

    Args:
        args: of `add_training_arguments`.
        config_class: of the configuration.
        load: imports and gives the function that trains.
    """
    from lxmert_tf.config_file import load_config

    start = [f"init_from={args.init_from}"] if args.init_from else []
    # Before TensorFlow is imported, which takes seconds.
    config = load_config(config_class, args.config, [*start, *args.overrides])
    model_config = model_config_of(args)
    prefer_onednn()
    train = load()

    from lxmert_tf.data.extractor_file import read_extractor
    from lxmert_tf.data.reading import find_records

    train_files = find_records(*args.train)
    train(
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


def model_config_of(args: argparse.Namespace):
    """The `LxmertConfig` of a model from scratch."""
    from lxmert_tf.config import LxmertConfig

    if args.model_config:
        return LxmertConfig.from_file(args.model_config)
    return LxmertConfig()
