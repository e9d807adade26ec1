"""`lxmert ask`: questions about a picture or statements about two, answered on the terminal."""

import argparse

SUMMARY = "answer questions about a picture, or judge statements about two"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a SavedModel, a folder of its versions (such as saved_models/NAME), or a preset; "
        "with --endpoint the model's name on the server",
    )
    parser.add_argument(
        "--image",
        action="append",
        required=True,
        metavar="FILE",
        help="PNG, JPEG, ...; twice, the left one first, for a model of statements about two",
    )
    parser.add_argument("--top", type=_positive, default=3, metavar="N", help="answers (default 3)")
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="a TensorFlow Serving or `lxmert serve` to ask: http://HOST:PORT (REST), or "
        "grpc://HOST:PORT",
    )
    parser.add_argument(
        "--extractor",
        metavar="FILE",
        help="with --endpoint: the extractor.json of the model, in the assets.extra of its "
        "SavedModel (default: the grid extractor as the demo has it)",
    )
    parser.add_argument("questions", nargs="+", metavar="QUESTION", help="in words, quoted")


def run(args: argparse.Namespace) -> int:
    """Prints the best answers to each question with their scores."""
    from lxmert_tf.errors import InputError
    from lxmert_tf.regions.image import read_image

    if args.extractor and not args.endpoint:
        raise InputError("--extractor is for --endpoint; a model on disk knows its own")
    if len(args.image) > 2:
        raise InputError(f"--image is given {len(args.image)} times; a model reads one or two")
    # Before the model is loaded, which takes seconds.
    images = [read_image(path) for path in args.image]
    for number, question in enumerate(args.questions, start=1):
        if not question.strip():
            raise InputError(f"question {number} is empty; ask in words")
    answer = _ask_server if args.endpoint else _ask_model
    for question, answers in zip(args.questions, answer(args, images)):
        print(question)
        for words, score in answers[: args.top]:
            print(f"  {score:6.1%}  {words}")
    return 0


def _ask_model(args: argparse.Namespace, images):
    from lxmert_tf.serving.predictor import Predictor

    answerer = Predictor(args.model)
    if len(images) == 2:
        return answerer.judge(*images, args.questions)
    return answerer.ask(*images, args.questions)


def _ask_server(args: argparse.Namespace, images):
    from lxmert_tf.config_file import read_mapping
    from lxmert_tf.regions.registry import make_extractor
    from lxmert_tf.serving.client import Client
    from lxmert_tf.serving.predictor import pair_regions

    client = Client(args.endpoint, args.model)
    # A server does not tell what made the regions of its model.
    extractor = make_extractor(read_mapping(args.extractor) if args.extractor else {"name": "grid"})
    if len(images) == 2:
        return client.answer(
            args.questions, **pair_regions(extractor, *images, len(args.questions))
        )
    regions = extractor.extract(*images)
    state = client.encode_image([regions.features], [regions.boxes], [len(regions)])
    return client.answer_about_image(args.questions, state)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
