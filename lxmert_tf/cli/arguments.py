"""What the commands that read records have in common on the command line."""

import argparse
from collections.abc import Callable

from lxmert_tf.runtime import keep_freed_memory, prefer_onednn

RECORDS = "TFRecord files of scenes, or folders of them (from `lxmert ingest`)"


def add_record_arguments(parser: argparse.ArgumentParser, required: bool) -> None:
    """Declares the records that a model answers, and how many at a time.

    Args:
        parser: the command's.
        required: whether there is nothing to do without records.
    """
    parser.add_argument("--examples", required=required, nargs="+", metavar="GLOB", help=RECORDS)
    parser.add_argument(
        "--max-regions",
        type=int,
        default=36,
        metavar="N",
        help="the most regions that an image of them has (default 36, as published)",
    )
    parser.add_argument("--batch-size", type=int, default=256, metavar="N")


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
    keep_freed_memory()
    prefer_onednn()
    train = load()

    from lxmert_tf.data.batches import find_records
    from lxmert_tf.data.sidecars import read_extractor

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


def positive_int(text: str) -> int:
    """Return the number in an argument's text, for `type=` of argparse.

    Raises:
        argparse.ArgumentTypeError: The number is below 1.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def model_config_of(args: argparse.Namespace):
    """The `LxmertConfig` of a model from scratch."""
    from lxmert_tf.models.config import LxmertConfig

    if args.model_config:
        return LxmertConfig.from_file(args.model_config)
    return LxmertConfig()
