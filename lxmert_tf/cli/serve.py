"""`lxmert serve`: a local server of an answer model, with TensorFlow Serving's REST paths."""

import argparse
import pathlib

SUMMARY = "answer requests for a SavedModel over HTTP, as TensorFlow Serving does"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a folder of numbered versions (such as saved_models/NAME), or a SavedModel; new "
        "versions are taken up as they come",
    )
    parser.add_argument("--name", help="the model's, in paths (default: the folder's)")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="LABEL=VERSION",
        help="a version to serve besides the highest, under /labels/LABEL; may be repeated",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default 127.0.0.1: this machine alone; whoever can reach "
        "another may ask, without a password)",
    )
    parser.add_argument("--port", type=_port, default=8501, metavar="N", help="default 8501")
    parser.add_argument(
        "--max-batch",
        type=_positive,
        default=32,
        metavar="N",
        help="rows computed together (default 32)",
    )
    parser.add_argument(
        "--max-body-mb",
        type=_positive,
        default=64,
        metavar="N",
        help="megabytes of a request; a larger one is refused with 413 (default 64)",
    )
    parser.add_argument(
        "--max-pending",
        type=_positive,
        default=128,
        metavar="N",
        help="requests in hand at once; more are refused with 503 (default 128)",
    )
    parser.add_argument(
        "--poll-seconds",
        type=_positive,
        default=2,
        metavar="N",
        help="between looks for a new version (default 2)",
    )


def run(args: argparse.Namespace) -> int:
    """Serves until it is interrupted."""
    import uvicorn

    from lxmert_tf.errors import InputError

    labels = dict(_label(text) for text in args.label)
    directory = pathlib.Path(args.model)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; name a SavedModel or its versions")
    name = args.name or directory.resolve().name
    listener = _listen(args.host, args.port)

    from lxmert_tf.serving.server.model_versions import ModelVersions
    from lxmert_tf.serving.server.rest import RestServer

    def say(line: str) -> None:
        print(line, flush=True)

    server = RestServer(
        name,
        ModelVersions(directory, labels, say),
        max_batch=args.max_batch,
        max_body=args.max_body_mb * 1_000_000,
        max_pending=args.max_pending,
        poll_seconds=args.poll_seconds,
    )
    host, port = listener.getsockname()[:2]
    say(f"listening at http://{f'[{host}]' if ':' in host else host}:{port}/v1/models/{name}")
    config = uvicorn.Config(server.app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listen(host: str, port: int):
    import socket

    from lxmert_tf.errors import InputError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(f"cannot listen at {host}:{port}: {error.strerror or error}") from error


def _label(text: str) -> tuple[str, int]:
    from lxmert_tf.errors import InputError

    label, equals, version = text.partition("=")
    if not label or not equals or not version.isdecimal():
        raise InputError(f"--label {text}: must be LABEL=VERSION, such as stable=3")
    return label, int(version)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be in 0..65535; 0 takes one that is free")
    return number
