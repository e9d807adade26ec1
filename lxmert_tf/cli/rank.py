"""`lxmert rank`: rank sentences by how well they match an image."""

import argparse

from lxmert_tf.cli.arguments import add_detector_arguments, read_detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "--model", required=True, metavar="PRESET", help="a preset of a pre-trained model"
    )
    parser.add_argument("--image", required=True, metavar="FILE", help="a PNG, JPEG, ... file")
    add_detector_arguments(parser)
    # With a type, because an empty one is reported with its number.
    parser.add_argument(
        "sentences", type=str, nargs="+", metavar="SENTENCE", help="a sentence in quotes"
    )


def run(args: argparse.Namespace) -> int:
    """Print each sentence with the probability that it describes the image, best first."""
    from lxmert_tf.errors import check_not_empty
    from lxmert_tf.regions.image import read_image

    # Before TensorFlow is imported, which takes seconds.
    check_not_empty(args.sentences, "sentence")
    image = read_image(args.image)

    extractor = read_detector(args)
    from lxmert_tf.serving.ranker import Ranker

    for sentence, probability in Ranker(args.model, extractor).rank(image, args.sentences):
        print(f"{probability:6.1%}  {sentence}")
    return 0
