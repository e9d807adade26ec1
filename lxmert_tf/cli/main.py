"""The command `lxmert`: finds the subcommands and turns errors into one line and a status."""

import argparse
import gc
import importlib.metadata
import sys
from collections.abc import Sequence

from lxmert_tf import __version__
from lxmert_tf.errors import EXIT_GATE, EXIT_USAGE, GateError, InputError
from lxmert_tf.runtime import silence_tensorflow

# Where packages register subcommands: modules with SUMMARY, add_arguments(parser) and run(args).
# So the library's command offers what `pipeline` brings without knowing it.
ENTRY_POINTS = "lxmert.commands"

# Package -> the extra that brings it (see setup.py).
EXTRAS = {
    "apache_beam": "ingest",
    "easy_vqa": "demo",
    "fastapi": "serve",
    "matplotlib": "visual",
    "ml_metadata": "pipeline",
    "tensorflow_addons": "addons",
    "tensorflow_data_validation": "pipeline",
    "tensorflow_model_analysis": "pipeline",
    "tensorflow_serving": "grpc",
    "tfx": "pipeline",
    "uvicorn": "serve",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns its exit status.

    0: done. 1: a result failed a gate. 2: the user's mistake, told in one line on stderr.
    """
    silence_tensorflow()
    # What imports make stays; looking through it for garbage again and again takes time.
    gc.set_threshold(50_000)
    args = _parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except InputError as error:
        return _say(args.command, str(error), EXIT_USAGE)
    except GateError as error:
        return _say(args.command, str(error), EXIT_GATE)
    except ModuleNotFoundError as error:
        return _say(args.command, missing_extra(error), EXIT_USAGE)
    except OSError as error:
        return _say(args.command, _file_problem(error), EXIT_USAGE)
    except KeyboardInterrupt:
        return _say(args.command, "interrupted", 130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lxmert", description="LXMERT in TensorFlow.")
    parser.add_argument("--version", action="version", version=f"lxmert {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS)):
        module = point.load()
        command = commands.add_parser(point.name, help=module.SUMMARY, description=module.SUMMARY)
        module.add_arguments(command)
        command.set_defaults(run=module.run, command=point.name)
    return parser


def missing_extra(error: ModuleNotFoundError) -> str:
    """What is missing and how to get it, in one line."""
    package = (error.name or "").split(".")[0]
    if package in ("lxmert_tf", "pipeline"):
        raise error
    if package not in EXTRAS:
        return f"needs the package {package!r}, which is not installed"
    extra = EXTRAS[package]
    where = ""
    if extra == "pipeline" and sys.version_info >= (3, 11):
        # TFX 1.21 has no wheels for older C libraries.
        where = " where glibc is 2.39 or newer"
    return f"needs the package {package!r}; pip install 'lxmert-tf[{extra}]' brings it{where}"


def _file_problem(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _say(command: str, text: str, status: int) -> int:
    print(f"lxmert {command}: {' '.join(text.split())}", file=sys.stderr)
    return status
