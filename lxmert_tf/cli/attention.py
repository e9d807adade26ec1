"""`lxmert attention`: draw what a model attends to."""

import argparse
import pathlib

from lxmert_tf.cli.arguments import add_detector_arguments, read_detector
from lxmert_tf.visualization import KINDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument("--model", required=True, metavar="PRESET", help="a preset of any model")
    parser.add_argument("--image", required=True, metavar="FILE", help="a PNG, JPEG, ... file")
    parser.add_argument("--output", required=True, metavar="FILE.png", help="the drawing")
    parser.add_argument(
        "--layer",
        type=int,
        default=-1,
        metavar="N",
        help="layer from 0, or negative from the end (default: -1, the last)",
    )
    parser.add_argument(
        "--head",
        type=_head,
        default="mean",
        metavar="N|mean",
        help="head from 0, or negative from the end (default: the mean of all heads)",
    )
    parser.add_argument(
        "--kind",
        dest="kinds",
        action="append",
        choices=KINDS,
        help="draw only this kind of attention; may be repeated (default: all four)",
    )
    add_detector_arguments(parser)
    parser.add_argument("sentence", metavar="SENTENCE", help="a sentence in quotes")


def run(args: argparse.Namespace) -> int:
    """Write the drawing and print its path."""
    from lxmert_tf.atomic_write import check_file
    from lxmert_tf.errors import InputError, check_not_empty
    from lxmert_tf.regions.image import read_image

    # Before TensorFlow is imported, which takes seconds.
    check_not_empty([args.sentence], "sentence")
    image = read_image(args.image)
    output = pathlib.Path(args.output)
    if output.suffix.lower() != ".png":
        raise InputError(f"{output}: output must end in .png")
    check_file(output)
    if output.exists() and output.samefile(args.image):
        raise InputError(f"{output}: is the input image; name another file")

    extractor = read_detector(args)
    from lxmert_tf.visualization.attention_maps import attention_maps
    from lxmert_tf.visualization.attention_picture import draw_attention

    maps = attention_maps(args.model, image, args.sentence, extractor)
    draw_attention(
        maps, image, args.sentence, output, args.kinds or tuple(KINDS), args.layer, args.head
    )
    print(output)
    return 0


def _head(text: str) -> int | str:
    if text == "mean":
        return text
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be an integer or mean") from error
