"""Model cards: what a SavedModel answers, how it was trained, and with which packages."""

import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Iterable, Sequence
from typing import Any

from lxmert_tf import __version__
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.result_files import MODEL_CARD
from lxmert_tf.serving.layout import EXTRA
from lxmert_tf.text_file import write_text

PACKAGES = ("tensorflow", "tensorflow-text")

_INTRODUCTION = """\
# Answers to questions about images

LXMERT (Tan & Bansal 2019, arXiv 1908.07490) with an answer head. It reads a question and the
regions of an image, and gives the answers in its table scores in 0..1. It knows no other answers,
and its scores mean nothing for regions from another extractor.
"""
_PAIR_INTRODUCTION = """\
# Statements about two images

LXMERT (Tan & Bansal 2019, arXiv 1908.07490) with a head for two images, as in NLVR2. It reads a
statement and the regions of the left and the right image, and gives True and False scores in 0..1.
Its scores mean nothing for regions from another extractor.
"""


def write_model_card(
    directory,
    model: LxmertAnswerClassifier | LxmertPairClassifier,
    training: dict[str, Any],
    seconds: float,
) -> None:
    """Write `assets.extra/model_card.md` into a SavedModel.

    Args:
        directory: The SavedModel.
        model: The model it was exported from.
        training: The training configuration, as JSON can hold it.
        seconds: Duration of the training.
    """
    extra = pathlib.Path(directory) / EXTRA
    extra.mkdir(exist_ok=True)
    sizes = {
        "parameters": f"{model.count_params():,}",
        "word pieces": f"{len(model.vocabulary or ()):,}",
        "answers": f"{len(model.answers or ()):,}",
    }
    packages = {"lxmert-tf": __version__}
    packages |= {name: importlib.metadata.version(name) for name in PACKAGES}
    pairs = isinstance(model, LxmertPairClassifier)
    sections = [
        _PAIR_INTRODUCTION if pairs else _INTRODUCTION,
        section("Model", markdown_table(("", ""), sizes.items()), _json(model.config.to_dict())),
        section("Regions", "Extractor:", _json(model.extractor)),
        section("Training", f"Duration: {seconds:.0f} s.", _json(training)),
        section(
            "Packages",
            markdown_table(
                ("package", "version"), [("Python", platform.python_version()), *packages.items()]
            ),
        ),
    ]
    write_text(extra / MODEL_CARD, "\n".join(sections))


def section(title: str, *blocks: str) -> str:
    """Return a section of a card.

    Args:
        title: Its heading.
        *blocks: Its paragraphs and tables, in Markdown.
    """
    return "\n\n".join([f"## {title}", *blocks]) + "\n"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Return a Markdown table.

    Args:
        columns: The headings.
        rows: The cells of each row.
    """
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _json(content) -> str:
    return f"```json\n{json.dumps(content, indent=1)}\n```"
