"""`lxmert statements`: make true and false statements about the images of NLVR."""

import argparse

from lxmert_tf.cli.arguments import naming_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "--images",
        nargs="+",
        required=True,
        metavar="PATH",
        help="NLVR's images: folders or zip archives of them, or patterns",
    )
    parser.add_argument(
        "--folders", nargs="+", default=[], metavar="NAME", help='folders to use, such as "[0-6]*"'
    )
    parser.add_argument(
        "--count", type=int, default=500_000, metavar="N", help="statements (default 500000)"
    )
    parser.add_argument(
        "--most-words", type=int, default=30, metavar="N", help="longest statement (default 30)"
    )
    parser.add_argument(
        "--lesson",
        type=int,
        default=0,
        metavar="N",
        help="mix in questions and simpler statements to pre-train on: 1 for the simplest, then 2 "
        "and 3 (default 0: statements alone)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="a file of the format json_lines"
    )


def run(args: argparse.Namespace) -> int:
    """Write the statements."""
    from pipeline.statements.generate import StatementsConfig, write_statements

    with naming_options(("count", "most_words", "lesson", "seed")):
        config = StatementsConfig(
            tuple(args.images),
            tuple(args.folders),
            args.count,
            args.most_words,
            args.lesson,
            args.seed,
        )
    write_statements(config, args.output)
    kind = "sentences" if config.lesson else "statements"
    print(f"written to {args.output}: {config.count:,} {kind}")
    return 0
