"""A model card: what a SavedModel is, what it was made of, and how; read by people."""

import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Iterable, Sequence
from typing import Any

from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.pair_classifier import LxmertPairClassifier
from lxmert_tf.text_file import write_text

MODEL_CARD = "model_card.md"
PACKAGES = ("lxmert-tf", "tensorflow", "tensorflow-text")

_INTRODUCTION = """\
# Answers to questions about images

LXMERT (Tan & Bansal 2019, arXiv 1908.07490) with a head for answers. It takes a question in words
and the regions of an image, and gives the answers of its table with scores in 0..1. It knows no
other answer, and its scores mean nothing about regions that another extractor made.
"""
_PAIR_INTRODUCTION = """\
# Statements about two images

LXMERT (Tan & Bansal 2019, arXiv 1908.07490) with a head for two images, as for NLVR2. It takes a
statement in words and the regions of the left and the right image, and gives True and False with
scores in 0..1. Its scores mean nothing about regions that another extractor made.
"""

# TensorFlow Serving leaves this folder alone; `lxmert ask` finds the extractor in it.
EXTRA = "assets.extra"


def write_model_card(
    directory,
    model: LxmertAnswerClassifier | LxmertPairClassifier,
    training: dict[str, Any],
    seconds: float,
) -> None:
    """Writes `assets.extra/model_card.md` beside a SavedModel.

    Args:
        directory: of the SavedModel.
        model: of which it was made.
        training: what training was told, as JSON holds it.
        seconds: how long it took.
    """
    extra = pathlib.Path(directory) / EXTRA
    extra.mkdir(exist_ok=True)
    sizes = {
        "parameters": f"{model.count_params():,}",
        "word pieces": f"{len(model.vocabulary):,}",
        "answers": f"{len(model.answers):,}",
    }
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    pairs = isinstance(model, LxmertPairClassifier)
    sections = [
        _PAIR_INTRODUCTION if pairs else _INTRODUCTION,
        section("Model", markdown_table(("", ""), sizes.items()), _json(model.config.to_dict())),
        section("Regions", "Made by this extractor:", _json(model.extractor)),
        section("Training", f"It took {seconds:.0f} s.", _json(training)),
        section(
            "Packages",
            markdown_table(
                ("package", "version"), [("Python", platform.python_version()), *packages.items()]
            ),
        ),
    ]
    write_text(extra / MODEL_CARD, "\n".join(sections))


def section(title: str, *blocks: str) -> str:
    """A section of a card, of Markdown blocks."""
    return "\n\n".join([f"## {title}", *blocks]) + "\n"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Rows as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _json(content) -> str:
    return f"```json\n{json.dumps(content, indent=1)}\n```"
