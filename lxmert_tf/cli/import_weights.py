"""`lxmert import-weights`: convert a checkpoint of LXMERT or BERT to a preset."""

import argparse

from lxmert_tf.converters import SOURCES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "--source",
        required=True,
        choices=SOURCES,
        help="kind of checkpoint: a *_LXRT.pth file of the release, a Hugging Face directory of "
        "LXMERT, or a Hugging Face directory of BERT",
    )
    parser.add_argument(
        "--checkpoint", required=True, metavar="PATH", help="file or directory to convert"
    )
    parser.add_argument(
        "--model-config",
        metavar="FILE",
        help="model config (default: sizes of the checkpoint; required for bert)",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="vocab.txt to keep with the model (default: vocab.txt or tokenizer.json in the "
        "checkpoint directory)",
    )
    parser.add_argument(
        "--answers",
        metavar="FILE",
        help="answers to keep with the model: one per line, or a *.json table of the release",
    )
    parser.add_argument("--output", required=True, metavar="PRESET", help="directory to write")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="accept checkpoints with missing tensors or tensors of the wrong shape",
    )


def run(args: argparse.Namespace) -> int:
    """Import the weights, print a report and write the preset."""
    from lxmert_tf.converters.importing import import_weights
    from lxmert_tf.data.answer_table import read_answer_table
    from lxmert_tf.errors import InputError
    from lxmert_tf.models.config import LxmertConfig
    from lxmert_tf.text_file import read_lines

    model, report = import_weights(
        args.source,
        args.checkpoint,
        LxmertConfig.from_file(args.model_config) if args.model_config else None,
        read_lines(args.vocabulary) if args.vocabulary else None,
        read_answer_table(args.answers) if args.answers else None,
    )
    _print_report(report)
    if not report.is_complete() and not args.partial:
        raise InputError(
            f"{args.checkpoint}: {len(report.missing)} tensors are missing and "
            f"{len(report.wrong_shape)} have the wrong shape; --partial accepts this"
        )
    if model.vocabulary is None:
        print("vocabulary:  none; the model reads sentences only with --vocabulary FILE")
    else:
        print(f"vocabulary:  {len(model.vocabulary):,}")
    model.save_preset(args.output)
    print(f"{type(model).__name__} written to {args.output}")
    return 0


def _print_report(report) -> None:
    wrong_shape = [
        f"{name}: {list(theirs)} in the checkpoint, {list(ours)} in the model"
        for name, theirs, ours in report.wrong_shape
    ]
    print(f"loaded:      {len(report.loaded)}")
    for label, lines in (
        ("missing:", report.missing),
        ("unexpected:", report.unexpected),
        ("wrong shape:", wrong_shape),
    ):
        print(f"{label:12} {len(lines)}")
        for line in lines:
            print(f"  {line}")
