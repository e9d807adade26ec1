"""`lxmert regions`: draw the regions that an extractor finds in an image."""

import argparse

from lxmert_tf.cli.arguments import add_extractor_arguments, extractor_config
from lxmert_tf.cli.drawing import check_drawing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument("--image", required=True, metavar="FILE", help="a PNG, JPEG, ... file")
    add_extractor_arguments(parser)
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="the drawing: FILE.png or FILE.svg"
    )


def run(args: argparse.Namespace) -> int:
    """Write the drawing and print its path."""
    from lxmert_tf.errors import InputError
    from lxmert_tf.regions.image import read_image
    from lxmert_tf.regions.registry import make_extractor

    image = read_image(args.image)
    output = check_drawing(args.output, args.image, (".png", ".svg"))
    # Needs an extra, so it comes before the extractor, which may take seconds.
    from lxmert_tf.visualization.region_picture import draw_regions

    extractor = make_extractor(extractor_config(args))
    regions = extractor.extract(image)
    if len(regions) == 0:
        raise InputError(f"{args.image}: the extractor {extractor.name} finds no regions in it")
    draw_regions(image, regions, extractor, output)
    print(output)
    return 0
