"""What the commands that read records have in common on the command line."""

import argparse

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
