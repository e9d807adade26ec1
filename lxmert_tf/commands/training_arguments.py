"""What the commands that train have in common on the command line."""

import argparse


def add_training_arguments(parser: argparse.ArgumentParser, configs: str) -> None:
    """Declares the options that say what is trained on what, and where the run is kept.

    Args:
        parser: the command's.
        configs: where examples of its configuration are.
    """
    parser.add_argument(
        "--config", required=True, metavar="FILE", help=f"how to train, such as {configs}"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="a value instead of the file's, such as batch_size=64; may be repeated",
    )
    add_data_arguments(parser)
    parser.add_argument(
        "--init-from", metavar="PRESET", help="a preset to start from, instead of from scratch"
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="checkpoints, log and, at the end, preset/"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the records and the sizes of a model from scratch."""
    records = "TFRecord files of scenes, or folders of them (from `lxmert ingest`)"
    parser.add_argument("--train", required=True, nargs="+", metavar="GLOB", help=records)
    parser.add_argument(
        "--validation", nargs="+", default=[], metavar="GLOB", help="to measure after each epoch"
    )
    parser.add_argument(
        "--model-config",
        metavar="FILE",
        help="the sizes of a model from scratch (default: as published)",
    )


def overrides_of(args: argparse.Namespace) -> list[str]:
    """The overrides of the configuration; `--init-from` is one."""
    start = [f"init_from={args.init_from}"] if args.init_from else []
    return [*start, *args.overrides]


def model_config_of(args: argparse.Namespace):
    """The `LxmertConfig` of a model from scratch."""
    from lxmert_tf.config import LxmertConfig

    if args.model_config:
        return LxmertConfig.from_file(args.model_config)
    return LxmertConfig()
