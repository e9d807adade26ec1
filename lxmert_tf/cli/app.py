"""`lxmert app`: a page in the browser to ask a model about pictures."""

import argparse
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from lxmert_tf.cli.arguments import (
    add_answers_argument,
    add_detector_arguments,
    add_pictures_argument,
    read_answers,
    read_detector,
)
from lxmert_tf.cli.endpoint import add_endpoint_arguments, check_endpoint_arguments
from lxmert_tf.cli.listening import add_listening_arguments, listen, url_of
from lxmert_tf.errors import InputError
from lxmert_tf.storage import is_url
from lxmert_tf.termination import raising_terminated

if TYPE_CHECKING:
    from lxmert_tf.app.example_pictures import Example


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "--model",
        required=True,
        action="append",
        dest="models",
        metavar="DIR",
        help="a preset, a SavedModel, an OpenVINO model, a directory of Hugging Face's LXMERT, one "
        "of the Hub as hf://ORGANIZATION/NAME, or a folder of numbered exported models such as "
        "saved_models/NAME; may be repeated, to compare models; with --endpoint, the name of the "
        "model on the server",
    )
    add_endpoint_arguments(parser)
    parser.add_argument(
        "--examples",
        metavar="DIR",
        help="folder of pictures to try, of which the page shows the first eight by name, with "
        "questions in its questions.txt, one per line (default: pictures of easy-VQA, if it is "
        "installed, for models of the grid extractor)",
    )
    parser.add_argument(
        "--results",
        metavar="DIR",
        help="also show results: the root of a pipeline, such as build/demo/pipeline, the output "
        "of `lxmert finetune` or `lxmert pretrain`, or DIR of `lxmert evaluate --results DIR`",
    )
    add_pictures_argument(parser, "the results show beside questions")
    add_listening_arguments(parser, 7860, "use the page")
    add_detector_arguments(parser)
    add_answers_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page until interrupted."""
    check_endpoint_arguments(args)
    for option in ("examples", "results", "pictures"):
        place = getattr(args, option)
        if place is not None and is_url(place):
            raise InputError(f"--{option} must be on this machine, not at a URL: {place}")
    listener = listen(args.host, args.port)
    # SIGTERM must not end the process before the uploaded pictures are removed.
    with (
        raising_terminated(),
        listener,
        tempfile.TemporaryDirectory(prefix="lxmert-app-") as folder,
    ):
        _serve(args, listener, folder)
    return 0


def _serve(args: argparse.Namespace, listener, folder: str) -> None:
    from lxmert_tf.app.uploads import FOLDER

    # Gradio reads these when it is imported: where uploads go, that it reports nothing, and that it
    # does not compute statistics of calls, for which it needs a newer pandas than TFX allows.
    os.environ[FOLDER] = folder
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(2**62)
    import uvicorn

    from lxmert_tf.app.example_pictures import examples_in
    from lxmert_tf.app.page import create_app
    from lxmert_tf.app.results import read_results
    from lxmert_tf.app.waiting import WaitingPage
    from lxmert_tf.regions.picture_finder import PictureFinder
    from lxmert_tf.serving.errors import Unavailable

    # What may be wrong comes before the models, which take seconds.
    given = examples_in(args.examples) if args.examples else None
    results = read_results(args.results) if args.results else None
    pictures = PictureFinder(args.pictures)

    def make_page():
        models = _models(args)
        return create_app(models, _examples(given, models), results, pictures)

    app: Any
    try:
        app = make_page()
    except Unavailable as error:
        print(f"{error}; the page opens once the server is up", file=sys.stderr)
        app = WaitingPage(make_page).app
    print(f"open {url_of(listener)} in a browser", flush=True)
    # uvicorn's own logging configuration would close the handlers of this process. At the end it
    # logs a traceback for each visitor whose page is still open.
    config = uvicorn.Config(
        app, log_config=None, log_level="critical", access_log=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets=[listener])


def _models(args: argparse.Namespace):
    from lxmert_tf.app.model_choices import choices_by_task, choices_on_server
    from lxmert_tf.app.page_model import connect
    from lxmert_tf.config_file import read_mapping

    detector = read_detector(args)
    if args.endpoint is not None:
        extractor = detector or (read_mapping(args.extractor) if args.extractor else None)
        return choices_on_server(args.models, lambda name: connect(args.endpoint, name, extractor))
    from lxmert_tf.app.open_model import open_model

    answers = read_answers(args)

    def load(folder: str):
        model = open_model(folder, detector, answers)
        model.warm_up()
        return model

    return choices_by_task(args.models, load)


def _examples(given: "list[Example] | None", models):
    """Return the pictures to try for each task: those given, or what suits its first model."""
    from lxmert_tf.app.example_pictures import easy_vqa_examples

    if given is not None:
        return dict.fromkeys(models, given)
    return {
        task: easy_vqa_examples() if choices[choices.names[0]].reads_flat_shapes else []
        for task, choices in models.items()
    }
