"""`lxmert import-weights`: convert a checkpoint of LXMERT, BERT or the detector to a preset."""

import argparse
import typing

from lxmert_tf.converters import DETECTOR, SOURCES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    from lxmert_tf.detector.config import Flavor

    parser.add_argument(
        "--source",
        required=True,
        choices=(*SOURCES, DETECTOR),
        help="kind of checkpoint: a *_LXRT.pth file of the release, a Hugging Face directory of "
        "LXMERT, a Hugging Face directory of BERT, or the detector of region features (a Hugging "
        "Face directory, or a file of weights, also a .caffemodel)",
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        help="file or directory to convert, or hf://ORGANIZATION/NAME for a directory of the "
        "Hugging Face Hub",
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
    parser.add_argument(
        "--detector-config",
        metavar="FILE",
        help="rules of the detector (default: the config in the checkpoint directory, else as "
        "published)",
    )
    parser.add_argument(
        "--flavor",
        choices=typing.get_args(Flavor),
        help="rules by which the detector resizes pictures and selects regions (default: those of "
        "its config)",
    )
    parser.add_argument("--output", required=True, metavar="PRESET", help="a new directory")
    parser.add_argument(
        "--partial",
        action="store_true",
        help="accept checkpoints with missing tensors or tensors of the wrong shape",
    )


def run(args: argparse.Namespace) -> int:
    """Import the weights, print a report and write the preset."""
    from lxmert_tf.atomic_write import check_replaceable
    from lxmert_tf.errors import InputError

    _check_options(args)
    # Before the checkpoint is read, which takes seconds.
    check_replaceable(args.output)
    model, report = _import_detector(args) if args.source == DETECTOR else _import_model(args)
    _print_report(report)
    if not report.is_complete() and not args.partial:
        raise InputError(f"{args.checkpoint}: {report.problem()}; --partial accepts this")
    if args.source == DETECTOR:
        names = len(model.object_names or ()), len(model.attribute_names or ())
        print(f"names:       {names[0]:,} objects, {names[1]:,} attributes")
    elif model.vocabulary is None:
        print("vocabulary:  none; the model reads sentences only with --vocabulary FILE")
    else:
        print(f"vocabulary:  {len(model.vocabulary):,}")
    model.save_preset(args.output)
    print(f"{type(model).__name__} written to {args.output}")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    from lxmert_tf.errors import InputError

    of_models, of_detectors = (
        ("model_config", "vocabulary", "answers"),
        ("detector_config", "flavor"),
    )
    is_detector = args.source == DETECTOR
    for option in of_models if is_detector else of_detectors:
        if getattr(args, option) is not None:
            kind = "models, not detectors" if is_detector else "detectors only"
            raise InputError(f"--{option.replace('_', '-')} is for {kind}")


def _import_model(args: argparse.Namespace):
    from lxmert_tf.converters.importing import import_weights
    from lxmert_tf.data.answer_table import read_answer_table
    from lxmert_tf.models.config import LxmertConfig
    from lxmert_tf.text_file import read_lines

    return import_weights(
        args.source,
        args.checkpoint,
        LxmertConfig.from_file(args.model_config) if args.model_config else None,
        read_lines(args.vocabulary) if args.vocabulary else None,
        read_answer_table(args.answers) if args.answers else None,
    )


def _import_detector(args: argparse.Namespace):
    from lxmert_tf.detector.importing import import_detector

    return import_detector(args.checkpoint, args.detector_config, args.flavor)


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
