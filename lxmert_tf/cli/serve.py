"""`lxmert serve`: serve an answer model over HTTP, with the REST API of TensorFlow Serving."""

import argparse
import urllib.parse
from collections.abc import Mapping
from typing import Any

from lxmert_tf.cli.arguments import positive_int
from lxmert_tf.cli.listening import add_listening_arguments, listen, url_of
from lxmert_tf.errors import InputError
from lxmert_tf.hub import is_hub_name, local_directory, repository_name
from lxmert_tf.serving.layout import ENGINES
from lxmert_tf.storage import basename, is_directory, is_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="a SavedModel, an OpenVINO model, or a folder of numbered ones such as "
        "saved_models/NAME; new versions are served as they appear",
    )
    parser.add_argument(
        "--engine",
        choices=tuple(ENGINES),
        help="serve only versions for this engine (default: the highest version, whichever it is "
        "for)",
    )
    parser.add_argument("--name", help="name of the model in URLs (default: that of the folder)")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="LABEL=VERSION",
        help="also serve this version, under /labels/LABEL; may be repeated",
    )
    add_listening_arguments(parser, 8501, "send requests")
    parser.add_argument(
        "--max-batch",
        type=positive_int,
        default=32,
        metavar="N",
        help="largest batch size (default: %(default)s)",
    )
    parser.add_argument(
        "--max-body-mb",
        type=positive_int,
        default=64,
        metavar="N",
        help="largest request in MB; larger ones get status 413 (default: %(default)s)",
    )
    parser.add_argument(
        "--max-pending",
        type=positive_int,
        default=128,
        metavar="N",
        help="requests handled at the same time; more get status 503 (default: %(default)s)",
    )
    parser.add_argument(
        "--max-bodies-mb",
        type=positive_int,
        default=256,
        metavar="N",
        help="bodies of all requests in memory, in MB; requests beyond that get status 503 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--poll-seconds",
        type=positive_int,
        default=2,
        metavar="N",
        help="interval of checks for new versions (default: %(default)s)",
    )
    parser.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let the web pages of this origin, such as http://localhost:3000, send requests from "
        "a browser (CORS); may be repeated. '*' lets all pages, as TensorFlow Serving's "
        "--rest_api_enable_cors_support does (default: none)",
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="json logs a line of JSON for each request and each version (default: %(default)s, "
        "versions only)",
    )
    parser.add_argument(
        "--log-questions",
        action="store_true",
        help="with --log-format json, log the questions of each request, too",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from lxmert_tf.serving.client import URL_NAME_RULE, is_url_name

    as_json = args.log_format == "json"
    if args.log_questions and not as_json:
        raise InputError("--log-questions needs --log-format json")
    if args.max_bodies_mb < args.max_body_mb:
        raise InputError(
            f"--max-bodies-mb {args.max_bodies_mb} must be at least --max-body-mb "
            f"{args.max_body_mb}, or the largest request would never fit"
        )
    labels = dict(_label(text) for text in args.label)
    for origin in args.cors_origin:
        _check_origin(origin)
    # Versions in a bucket are watched there.
    directory = args.model if is_url(args.model) else local_directory(args.model)
    if not is_directory(directory):
        raise InputError(f"model not found: {directory}")
    name = args.name or default_name(args.model)
    if not is_url_name(name):
        raise InputError(f"{name!r} cannot be a model's name in URLs; {URL_NAME_RULE}; give --name")
    listener = listen(args.host, args.port)

    import uvicorn

    from lxmert_tf.serving.server.draining import DrainingServer
    from lxmert_tf.serving.server.model_versions import ModelVersions
    from lxmert_tf.serving.server.request_log import json_line
    from lxmert_tf.serving.server.rest import RestServer

    def log(line: str) -> None:
        print(json_line({"message": line}) if as_json else line, flush=True)

    def log_request(values: Mapping[str, Any]) -> None:
        print(json_line(values), flush=True)

    server = RestServer(
        name,
        ModelVersions(directory, labels, log, args.engine),
        max_batch=args.max_batch,
        max_body=args.max_body_mb * 1_000_000,
        max_pending=args.max_pending,
        max_bodies=args.max_bodies_mb * 1_000_000,
        poll_seconds=args.poll_seconds,
        cors_origins=args.cors_origin,
        log_request=log_request if as_json else None,
        log_questions=args.log_questions,
    )
    log(f"listening at {url_of(listener)}/v1/models/{urllib.parse.quote(name)}")
    # uvicorn's own logging configuration would close the handlers of this process.
    config = uvicorn.Config(server.app, log_config=None, log_level="warning", access_log=False)
    DrainingServer(config, server).run(sockets=[listener])
    return 0


def default_name(model: str) -> str:
    """Return the name in URLs of a model, a path or `hf://ORGANIZATION/NAME`, that has no other."""
    if is_hub_name(model):
        return repository_name(model)
    # As it was given, also of a symbolic link.
    return basename(model)


def _check_origin(origin: str) -> None:
    parts = urllib.parse.urlsplit(origin)
    if origin != "*" and (not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}"):
        raise InputError(
            f"--cors-origin {origin}: must be SCHEME://HOST[:PORT] without a path, such as "
            "http://localhost:3000, or '*'"
        )


def _label(text: str) -> tuple[str, int]:
    label, equals, version = text.partition("=")
    if not label or not equals or not version.isdecimal():
        raise InputError(f"--label {text}: must be LABEL=VERSION, such as stable=3")
    return label, int(version)
