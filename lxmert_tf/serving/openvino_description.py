"""What an OpenVINO model holds besides its graphs: sizes, words, answers, and settings.

model.xml, model.bin                    the states of a question and an image (a pair classifier:
                                        token ids and regions) to probabilities
image_encoder.xml, .bin                 regions to an image state; not for a pair classifier
question_encoder.xml, .bin              token ids to a question state; not for a pair classifier
openvino.json                           the fields of `OpenVinoSettings`
config.json, vocab.txt, answers.txt     as in a preset
assets.extra/extractor.json             the region extractor
"""

import dataclasses
import json
import pathlib
from typing import Literal

from lxmert_tf.config_file import load_config
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.text_file import read_lines

SETTINGS = "openvino.json"
Precision = Literal["float32", "bfloat16", "int8"]
IMAGE_ENCODER = "image_encoder.xml"
QUESTION_ENCODER = "question_encoder.xml"


@dataclasses.dataclass(frozen=True)
class OpenVinoSettings:
    """Settings of an export.

    Args:
        precision: Precision of the products.
        max_length: Word pieces per question, with [CLS] and [SEP].
        top_k: Answers per question.
        format: Version of the layout.
    """

    precision: Precision
    max_length: int
    top_k: int
    format: Literal[2] = 2


@dataclasses.dataclass(frozen=True)
class OpenVinoDescription:
    """Everything in an OpenVINO model except its graphs.

    Args:
        settings: Settings of the export.
        config: Sizes of the model.
        vocabulary: The word pieces in the order of their ids.
        answers: The answers in the order of the probabilities.
    """

    settings: OpenVinoSettings
    config: LxmertConfig
    vocabulary: list[str]
    answers: list[str]


def write_description(directory: pathlib.Path, description: OpenVinoDescription) -> None:
    """Write a description into a directory."""
    settings = json.dumps(dataclasses.asdict(description.settings), indent=1)
    texts = {
        SETTINGS: f"{settings}\n",
        "config.json": description.config.to_json(),
        "vocab.txt": "".join(f"{piece}\n" for piece in description.vocabulary),
        "answers.txt": "".join(f"{answer}\n" for answer in description.answers),
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")


def read_description(directory: pathlib.Path) -> OpenVinoDescription:
    """Read the description in a directory.

    Raises:
        InputError: A file is missing or damaged.
    """
    description = OpenVinoDescription(
        settings=load_config(OpenVinoSettings, directory / SETTINGS),
        config=LxmertConfig.from_file(directory / "config.json"),
        vocabulary=read_lines(directory / "vocab.txt"),
        answers=read_lines(directory / "answers.txt"),
    )
    sizes = {
        "vocab.txt": (len(description.vocabulary), description.config.vocab_size),
        "answers.txt": (len(description.answers), description.config.num_answers),
    }
    for name, (found, expected) in sizes.items():
        if found != expected:
            raise InputError(
                f"{directory / name}: {found:,} lines, but config.json says {expected:,}"
            )
    return description
