"""`lxmert ingest`: pictures and sentences into record files."""

import argparse

SUMMARY = "turn pictures and sentences into record files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("--config", metavar="FILE", help="YAML with the fields of IngestConfig")
    parser.add_argument("--source", metavar="NAME", help="instead of --config: the data set")
    parser.add_argument("--split", metavar="NAME", help="with --source: one of its splits")
    parser.add_argument(
        "--layout",
        choices=("grouped", "flat"),
        help="with --source: a record per image (training, the default) or per sentence",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="with --source: the most images")
    parser.add_argument("--output", required=True, metavar="DIR", help="a new folder")


def run(args: argparse.Namespace) -> int:
    """Ingests, then prints the counts."""
    config = _config(args)

    from pipeline.ingest.job import run_ingest

    print_summary(run_ingest(config, args.output))
    print(f"written to {args.output}")
    return 0


def _config(args: argparse.Namespace):
    from lxmert_tf.config_file import load_config
    from lxmert_tf.errors import InputError
    from pipeline.ingest.config import IngestConfig, SplitConfig

    fields = {"split": args.split, "layout": args.layout, "limit": args.limit}
    given = {name: value for name, value in fields.items() if value is not None}
    if args.config:
        if args.source or given:
            raise InputError("--config says it all; leave out --source, --split, --layout, --limit")
        return load_config(IngestConfig, args.config)
    if not args.source or not args.split:
        raise InputError("name --config FILE, or --source NAME and --split NAME")
    return IngestConfig(args.source, SplitConfig(**given))


def print_summary(summary: dict) -> None:
    """Prints what was read, written and left out, and why."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", title="Ingestion")
    for column in ("read", "written", "rejected"):
        table.add_column(column, justify="right")
    for kind in ("images", "sentences"):
        table.add_row(kind, *(f"{number:,}" for number in summary[kind].values()))
    console = Console()
    console.print(table)
    for reason, count in summary["reasons"].items():
        console.print(f"rejected {count:,}: {reason}", markup=False)
