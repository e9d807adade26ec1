"""`lxmert attention`: draw what a model attends to."""

import argparse
import pathlib

from lxmert_tf.cli.arguments import add_detector_arguments, read_detector
from lxmert_tf.cli.drawing import check_drawing
from lxmert_tf.visualization import KINDS

SUFFIXES = (".png", ".svg", ".html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument("--model", required=True, metavar="PRESET", help="a preset of any model")
    parser.add_argument("--image", required=True, metavar="FILE", help="a PNG, JPEG, ... file")
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="the drawing: FILE.png or FILE.svg; or FILE.html, a page to choose words, regions, "
        "layers, and heads in",
    )
    parser.add_argument(
        "--layer",
        type=int,
        action="append",
        dest="layers",
        metavar="N",
        help="layer to draw: 0 is the first, -1 the last; may be repeated (default: the last)",
    )
    parser.add_argument(
        "--head",
        type=_head,
        action="append",
        dest="heads",
        metavar="N|mean",
        help="head to draw of each layer: 0 is the first, -1 the last; may be repeated (default: "
        "the mean of all heads)",
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
    from lxmert_tf.errors import InputError, check_not_empty
    from lxmert_tf.regions.image import read_image

    # Before TensorFlow is imported, which takes seconds.
    check_not_empty([args.sentence], "sentence")
    image = read_image(args.image)
    output = check_drawing(args.output, args.image, SUFFIXES)
    is_page = output.suffix.lower() == ".html"
    if is_page and (args.layers or args.heads or args.kinds):
        raise InputError(
            f"{output}: --layer, --head, and --kind are for .png and .svg; the page has all layers "
            "and heads of the cross-attention"
        )
    extractor = read_detector(args)
    from lxmert_tf.visualization.attention_maps import attention_maps

    if not is_page:
        # Before the model is loaded, because it needs an extra.
        from lxmert_tf.visualization.attention_picture import draw_attention

    maps = attention_maps(args.model, image, args.sentence, extractor)
    if is_page:
        _write_page(output, maps, image, args.sentence)
    else:
        draw_attention(
            maps,
            image,
            args.sentence,
            output,
            args.kinds or tuple(KINDS),
            args.layers or (-1,),
            args.heads or ("mean",),
        )
    print(output)
    return 0


def _write_page(output: pathlib.Path, maps, image, sentence: str) -> None:
    from lxmert_tf.text_file import write_text
    from lxmert_tf.visualization.explorer import explorer_element, explorer_page

    element = explorer_element(image, maps.regions, maps.region_names, maps)
    write_text(output, explorer_page(sentence, element))


def _head(text: str) -> int | str:
    if text == "mean":
        return text
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be an integer or mean") from error
