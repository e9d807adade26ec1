"""`lxmert import-weights`: LXMERT's or BERT's weights of elsewhere into a preset."""

import argparse

SUMMARY = "turn a checkpoint of LXMERT or BERT, PyTorch's or transformers', into a preset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "--source",
        required=True,
        choices=("lxrt", "huggingface", "bert"),
        help="a *_LXRT.pth of the release, a Hugging Face LXMERT directory, or a BERT directory",
    )
    parser.add_argument("--checkpoint", required=True, metavar="PATH")
    parser.add_argument(
        "--model-config",
        metavar="FILE",
        help="the sizes; told from the checkpoint if left out, but needed for bert",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="a vocab.txt to keep with the model; the checkpoint directory's own if left out",
    )
    parser.add_argument(
        "--answers",
        metavar="FILE",
        help="a table to keep with the model: an answer a line, or the release's *.json",
    )
    parser.add_argument("--output", required=True, metavar="PRESET", help="the preset's directory")
    parser.add_argument(
        "--partial", action="store_true", help="accept weights that are missing or do not fit"
    )


def run(args: argparse.Namespace) -> int:
    """Imports, prints the report, and writes the preset."""
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
    print_report(report)
    if not report.is_full() and not args.partial:
        raise InputError(
            f"{args.checkpoint}: {len(report.missing)} tensors are missing and "
            f"{len(report.mismatched)} do not fit; --partial accepts that"
        )
    model.save_preset(args.output)
    print(f"{type(model).__name__} written to {args.output}")
    return 0


def print_report(report) -> None:
    """Prints how many tensors were loaded, and the names of those that were not."""
    print(f"loaded:     {len(report.loaded)}")
    print(f"missing:    {len(report.missing)}")
    for name in report.missing:
        print(f"  {name}")
    print(f"unexpected: {len(report.unexpected)}")
    for name in report.unexpected:
        print(f"  {name}")
    print(f"mismatched: {len(report.mismatched)}")
    for name, theirs, ours in report.mismatched:
        print(f"  {name}: {list(theirs)} in the checkpoint, {list(ours)} in the model")
