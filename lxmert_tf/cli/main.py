"""The command `lxmert`: runs subcommands and reports their errors in one line."""

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from lxmert_tf import __version__
from lxmert_tf.errors import EXIT_GATE, EXIT_USAGE, GateError, InputError, Terminated
from lxmert_tf.runtime import collect_garbage_less, escape_unprintable, silence_tensorflow
from lxmert_tf.storage import check_no_credentials

# Group -> command -> (module, summary). A module has `add_arguments(parser)` and `run(args)`, and
# is imported only when its command is called. The package `pipeline` depends on lxmert_tf and not
# the other way round, so its modules are named here and never imported from here; both packages
# are always installed together, which is why entry points would add nothing.
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "data": {
        "ingest": (
            "pipeline.commands.ingest",
            "turn region features or images, and sentences, into record files",
        ),
        "extract": (
            "pipeline.commands.extract",
            "write the region features of pictures, in formats of LXMERT, UNITER and ViLBERT",
        ),
        "statements": (
            "pipeline.commands.statements",
            "make true and false statements about the images of NLVR, to train on",
        ),
    },
    "training": {
        "pretrain": ("lxmert_tf.cli.pretrain", "pre-train a model on images and sentences"),
        "finetune": ("lxmert_tf.cli.finetune", "fine-tune a model on questions or statements"),
        "ablate": ("lxmert_tf.cli.ablate", "compare variants of pre-training"),
    },
    "evaluation": {
        "evaluate": (
            "lxmert_tf.cli.evaluate",
            "measure a model's accuracy on records, or score a file of predictions",
        ),
        "predict": (
            "lxmert_tf.cli.predict",
            "answer records and write the file to submit to VQA, GQA, NLVR or NLVR2",
        ),
    },
    "using a model": {
        "ask": ("lxmert_tf.cli.ask", "answer questions about an image, or statements about two"),
        "rank": ("lxmert_tf.cli.rank", "rank sentences by how well they match an image"),
        "attention": ("lxmert_tf.cli.attention", "draw what a model attends to"),
        "regions": ("lxmert_tf.cli.regions", "draw the regions of an image with their names"),
        "app": ("lxmert_tf.cli.app", "open a page in the browser to ask a model about pictures"),
    },
    "converting and serving": {
        "import-weights": (
            "lxmert_tf.cli.import_weights",
            "convert a checkpoint of LXMERT, BERT, or the detector to a preset",
        ),
        "export-weights": (
            "lxmert_tf.cli.export_weights",
            "convert a preset to a checkpoint of the release or of Hugging Face",
        ),
        "export": ("lxmert_tf.cli.export", "turn a preset into a SavedModel or an OpenVINO model"),
        "serve": ("lxmert_tf.cli.serve", "serve an exported model over HTTP"),
    },
    "automation and speed": {
        "pipeline": (
            "pipeline.commands.pipeline",
            "run a TFX pipeline from images to a pushed model, or show its runs",
        ),
        "benchmark": (
            "lxmert_tf.cli.benchmark",
            "measure how fast a model answers or trains on this machine",
        ),
    },
}

# Where a URL begins in an argument, which may be "--option=URL" or "KEY=URL".
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)
# What shells report after a signal: 128 + SIGINT (Ctrl-C), 128 + SIGTERM.
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

# Package -> the extra that installs it (see pyproject.toml).
EXTRAS = {
    "apache_beam": "ingest",
    "easy_vqa": "demo",
    "fastapi": "serve",
    "gradio": "app",
    "grpc": "grpc",
    "huggingface_hub": "hub",
    "matplotlib": "visual",
    "ml_metadata": "pipeline",
    "openvino": "openvino",
    "tensorflow_addons": "addons",
    "tensorflow_data_validation": "pipeline",
    "tensorflow_model_analysis": "pipeline",
    "tensorflow_serving": "grpc",
    "tfx": "pipeline",
    "tokenizers": "openvino",
    "uvicorn": "serve",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: The arguments. Default: those of the process.

    Returns:
        The exit status, which is 0 for success, 1 for a result that failed a gate, and 2 for a
        user error, which is reported in one line on stderr.
    """
    silence_tensorflow()
    collect_garbage_less()
    command, *arguments = _top_level_arguments(sys.argv[1:] if argv is None else argv)
    module_name, summary = _all_commands()[command]

    def run() -> int | None:
        _check_arguments(arguments)
        module = importlib.import_module(module_name)
        parser = _Parser(prog=f"lxmert {command}", description=_sentence(summary))
        module.add_arguments(parser)
        return module.run(parser.parse_args(arguments))

    return report_errors(f"lxmert {command}", run)


def report_errors(prog: str, run: Callable[[], int | None]) -> int:
    """Run a function, and report its errors in one line on stderr.

    Args:
        prog: Name of the program, which begins the line.
        run: The function; returns an exit status, or None for 0.

    Returns:
        The exit status, as from `main`.
    """
    escape_unprintable()
    try:
        return run() or 0
    except InputError as error:
        message, status = str(error), EXIT_USAGE
    except GateError as error:
        message, status = str(error), EXIT_GATE
    except ModuleNotFoundError as error:
        message, status = missing_extra(error), EXIT_USAGE
    except OSError as error:
        message, status = _file_error(error), EXIT_USAGE
    except KeyboardInterrupt:
        message, status = "interrupted", EXIT_INTERRUPTED
    except Terminated:
        message, status = "terminated", EXIT_TERMINATED
    print(f"{prog}: {' '.join(message.split())}", file=sys.stderr)
    return status


def missing_extra(error: ModuleNotFoundError) -> str:
    """Return a line that says which package is missing and how to install it.

    Args:
        error: The failed import of an optional package.

    Raises:
        ModuleNotFoundError: The module is one of this project, which is a bug.
    """
    package = (error.name or "").split(".")[0]
    if package in ("lxmert_tf", "pipeline"):
        raise error
    if package not in EXTRAS:
        return f"needs the package {package!r}, which is not installed"
    extra = EXTRAS[package]
    where = ""
    if extra == "pipeline" and sys.version_info >= (3, 11):
        # TFX 1.21 has no wheels for older C libraries.
        where = " (needs glibc 2.39 or newer)"
    return f"needs the package {package!r}: pip install 'lxmert-tf[{extra}]'{where}"


class _Parser(argparse.ArgumentParser):
    """Refuses empty values, and reports errors in one line instead of below the usage."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Converts what has no `type`. An empty path would be the working directory.
        self.register("type", None, _filled)

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _filled(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("the value is empty")
    return value


def _top_level_arguments(argv: Sequence[str]) -> list[str]:
    """Return a command and its arguments; print help, the version or an error otherwise."""
    if argv and argv[0] in _all_commands():
        return list(argv)
    parser = _Parser(
        prog="lxmert",
        usage="lxmert [--help] [--version] COMMAND ...",
        description="LXMERT in TensorFlow: questions about images, from data to a served model.",
        epilog=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lxmert {__version__}")
    parser.add_argument(
        "command", metavar="COMMAND", choices=list(_all_commands()), help=argparse.SUPPRESS
    )
    parser.parse_args(argv)
    parser.error("options of a command come after it")


def _check_arguments(arguments: Sequence[str]) -> None:
    for argument in arguments:
        # Before a message or a saved file shows them. Servers of models have URLs of their own.
        if (url := _URL.search(argument)) and not url[0].startswith("http"):
            check_no_credentials(argument[url.start() :])
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            encoding = sys.getfilesystemencoding().upper()
            raise InputError(f"the argument {argument!a} is not valid {encoding} text") from error


def _all_commands() -> dict[str, tuple[str, str]]:
    return {name: entry for group in COMMANDS.values() for name, entry in group.items()}


def _overview() -> str:
    lines = []
    for group, commands in COMMANDS.items():
        lines += [f"{group}:", *(f"  {name:<16}{text}" for name, (_, text) in commands.items()), ""]
    return "\n".join([*lines, "`lxmert COMMAND --help` lists the options of a command."])


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _file_error(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
