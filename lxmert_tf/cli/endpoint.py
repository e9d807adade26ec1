"""Options of the commands that ask a model on a server."""

import argparse

from lxmert_tf.errors import InputError


def add_endpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--endpoint` and `--extractor`."""
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="ask a server (TensorFlow Serving or `lxmert serve`): http://HOST:PORT or "
        "grpc://HOST:PORT",
    )
    parser.add_argument(
        "--extractor",
        metavar="FILE",
        help="with --endpoint: assets.extra/extractor.json of the model on the server "
        "(default: the grid extractor)",
    )


def check_endpoint_arguments(args: argparse.Namespace) -> None:
    """Check that `--endpoint` has a protocol and that the options beside it fit.

    Args:
        args: What was declared by this module, `add_detector_arguments` and `add_answers_argument`.

    Raises:
        InputError: Two options contradict each other, or the protocol is missing.
    """
    if args.extractor and not args.endpoint:
        raise InputError("--extractor requires --endpoint; a model on disk stores its extractor")
    if args.answers and args.endpoint:
        raise InputError("--answers is for a model on disk; a server names the answers itself")
    if args.extractor and args.detector:
        raise InputError("--extractor and --detector both name an extractor; give one of them")
    if args.endpoint and "://" not in args.endpoint:
        raise InputError(
            f"--endpoint {args.endpoint}: name the protocol, http://{args.endpoint} (REST) or "
            f"grpc://{args.endpoint}"
        )
