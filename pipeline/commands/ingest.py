"""`lxmert ingest`: pictures or their regions, and sentences, into record files."""

import argparse
import dataclasses

from lxmert_tf.errors import InputError

# A split of the files that the command line names.
PART = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    what = parser.add_argument_group("what is read (one of --config, --regions, --source)")
    what.add_argument("--config", metavar="FILE", help="YAML with the fields of IngestConfig")
    what.add_argument(
        "--regions", nargs="+", metavar="GLOB", help="files with regions of images, or pictures"
    )
    what.add_argument("--regions-format", metavar="NAME", help="told from the files if left out")
    what.add_argument("--sentences", nargs="+", metavar="GLOB", help="files with sentences")
    what.add_argument("--sentences-format", metavar="NAME", help="see docs/sources.md")
    what.add_argument("--source", metavar="NAME", help="a data set that a package brings: easy_vqa")
    what.add_argument(
        "--split", metavar="NAME", help="with --source or --config: one of its splits"
    )
    how = parser.add_argument_group("what is made")
    how.add_argument("--output", required=True, metavar="DIR", help="a new folder")
    how.add_argument(
        "--layout",
        choices=("grouped", "flat"),
        help="a record per image (training, the default) or per sentence",
    )
    how.add_argument("--limit", type=int, metavar="N", help="the most images, for a trial")
    how.add_argument("--shards", type=int, metavar="N", help="files of records (default 4)")
    how.add_argument(
        "--feature-dtype", choices=("float16", "float32"), help="in the records (default float16)"
    )
    how.add_argument("--answers", metavar="FILE", help="a table; other answers are left out")
    how.add_argument("--min-answer-count", type=int, metavar="N", help="make the table of the data")
    how.add_argument(
        "--normalize-answers",
        action="store_true",
        default=None,
        help="as the release does before look-up",
    )
    how.add_argument(
        "--max-reject-fraction",
        type=float,
        metavar="SHARE",
        help="of images or sentences; above it the job fails (default 0.01)",
    )
    where = parser.add_argument_group("where it runs")
    where.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    where.add_argument(
        "beam_args", nargs="*", metavar="-- BEAM_OPTION", help="for another runner of Apache Beam"
    )


def run(args: argparse.Namespace) -> int:
    """Ingests each split, and prints the counts."""
    jobs = _jobs(args)
    beam_args = list(args.beam_args)
    if args.workers < 1:
        raise InputError(f"--workers is {args.workers}; it must be at least 1")
    if args.workers > 1:
        beam_args += [
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={args.workers}",
            "--beam_plugin=lxmert_tf.quiet_worker",
        ]

    from pipeline.ingest.job import run_ingest

    for output, config in jobs.items():
        print_summary(run_ingest(config, output, beam_args))
        print(f"written to {output}")
    return 0


def _jobs(args: argparse.Namespace) -> dict:
    """The configuration of each output folder."""
    from pipeline.ingest.config import IngestConfig

    given = [name for name in ("config", "regions", "source") if getattr(args, name)]
    if len(given) != 1:
        raise InputError(
            "name one of --config FILE, --regions GLOB... with --sentences GLOB..., and "
            "--source NAME with --split NAME"
        )
    make = {"config": _from_file, "regions": _from_patterns, "source": _from_source}[given[0]]
    config: IngestConfig = make(args)
    fields = ("shards", "feature_dtype", "answers", "min_answer_count", "normalize_answers")
    config = _changed(config, args, (*fields, "max_reject_fraction"))
    if config.records:
        return {args.output: _one_split(config, args, config.records)}
    splits = config.splits
    if args.split is not None:
        if args.split not in splits:
            raise InputError(f"--split {args.split}: there are {', '.join(splits)}")
        return {args.output: _one_split(config, args, splits[args.split])}
    return {f"{args.output}/{n}": _one_split(config, args, s) for n, s in splits.items()}


def _from_file(args: argparse.Namespace):
    from lxmert_tf.config_file import load_config
    from pipeline.ingest.config import IngestConfig

    _refuse(args, ("regions_format", "sentences", "sentences_format"), "--config says it")
    config = load_config(IngestConfig, args.config)
    if args.split is not None and config.records:
        raise InputError("--split chooses one of several splits; this file has one")
    return config


def _from_patterns(args: argparse.Namespace):
    from pipeline.ingest.config import (
        IngestConfig,
        PartConfig,
        RegionFiles,
        SentenceFiles,
        SplitConfig,
    )

    _refuse(args, ("split",), "--regions and --sentences are one split")
    if not args.sentences or not args.sentences_format:
        raise InputError("--regions go with --sentences GLOB... and --sentences-format NAME")
    regions = RegionFiles(tuple(args.regions), args.regions_format)
    sentences = SentenceFiles(tuple(args.sentences), args.sentences_format)
    return IngestConfig(
        records=SplitConfig(PART), parts={PART: PartConfig((regions,), (sentences,))}
    )


def _from_source(args: argparse.Namespace):
    from pipeline.ingest.config import IngestConfig, SplitConfig

    _refuse(args, ("regions_format", "sentences", "sentences_format"), "--source has its own")
    if not args.split:
        raise InputError("--source NAME goes with --split NAME")
    return IngestConfig(args.source, SplitConfig(args.split))


def _one_split(config, args: argparse.Namespace, records):
    records = _changed(records, args, ("layout", "limit"))
    return dataclasses.replace(config, records=records, splits={})


def _changed(config, args: argparse.Namespace, names: tuple[str, ...]):
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return dataclasses.replace(config, **given)


def _refuse(args: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(args, name) is not None:
            raise InputError(f"{why}; leave out --{name.replace('_', '-')}")


def print_summary(summary: dict) -> None:
    """Prints what was read, written and left out, and why."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", title="Ingestion")
    for column in ("read", "written", "rejected"):
        table.add_column(column, justify="right")
    for kind in ("images", "sentences", "answers"):
        table.add_row(kind, *(f"{number:,}" for number in summary[kind].values()))
    console = Console()
    console.print(table)
    for reason, count in summary["reasons"].items():
        console.print(f"rejected {count:,}: {reason}", markup=False)
