"""`lxmert rank`: sentences by how well they go with a picture."""

import argparse

SUMMARY = "rank sentences by how well they go with a picture"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "--model", required=True, metavar="PRESET", help="a preset of a pre-trained model"
    )
    parser.add_argument("--image", required=True, metavar="FILE", help="PNG, JPEG, ...")
    parser.add_argument("sentences", nargs="+", metavar="SENTENCE", help="in words, quoted")


def run(args: argparse.Namespace) -> int:
    """Prints each sentence with the probability that it is of this picture, best first."""
    from lxmert_tf.regions.image import read_image

    # Before TensorFlow is loaded, which takes seconds.
    image = read_image(args.image)

    from lxmert_tf.serving.ranker import Ranker

    for sentence, probability in Ranker(args.model).rank(image, args.sentences):
        print(f"{probability:6.1%}  {sentence}")
    return 0
