"""Balanced statements about NLVR's images, written as a file of `json_lines`."""

import dataclasses
import fnmatch
import functools
import io
import itertools
import json
import pathlib
import random
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.progress import track

from lxmert_tf.atomic_write import atomic_file, check_file
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.nlvr import ORDERS
from lxmert_tf.regions.image import decode_image
from lxmert_tf.terminal import make_console
from pipeline.ingest.files import READ_ERRORS, InputFile, closing_archives, find_inputs, open_input
from pipeline.ingest.image_names import name_of_file, parse_name
from pipeline.statements.grammar import Grammar
from pipeline.statements.nlvr_rules import SYMBOLS, nlvr_rules
from pipeline.statements.scenes import Scenes, read_scenes

# Of each statement: it is true of half of the images, as in NLVR (Suhr et al. 2017, section 3).
IMAGES_PER_STATEMENT = 4
# Images that are tried for a statement. One that is true or false of nearly all is left out.
_CANDIDATES = 64
# Statements that may be left out in a row before the images are taken to be too few.
_MOST_TRIES = 1_000
_FIRST_ORDER = re.compile(r".+-0")


class Statement(NamedTuple):
    """A statement about an image.

    Args:
        sentence: The sentence.
        image: Index of the image.
        is_true: Whether the sentence is true of the image.
    """

    sentence: str
    image: int
    is_true: bool


@dataclasses.dataclass(frozen=True)
class StatementsConfig:
    """What `write_statements` writes.

    Args:
        images: Files, folders, zip archives, or patterns of NLVR's images.
        folders: Names or patterns of the folders whose images are used; empty for all.
        count: Number of statements, each about one image.
        most_words: Words of the longest statement.
        kind: One of `SYMBOLS`: "all", or "existence" for those with which a model learns to
            compare words and objects.
        seed: Seed of the statements and of the choice of images.

    Raises:
        InputError: A number is out of range, or there is no such kind.
    """

    images: tuple[str, ...]
    folders: tuple[str, ...] = ()
    count: int = 500_000
    most_words: int = 30
    kind: str = "all"
    seed: int = 0

    def __post_init__(self):
        # Hardly any statement is shorter than "there is a blue square".
        for name, least in (("count", 1), ("most_words", 5), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.kind not in SYMBOLS:
            raise InputError(f"kind is {self.kind!r}; it must be one of {', '.join(SYMBOLS)}")


def write_statements(config: StatementsConfig, output) -> None:
    """Write statements about images, each about a random order of the boxes.

    A line is {"id", "image", "sentence", "answers"}, the last "True" or "False". No statement
    depends on the order of the boxes, so only the first of the six orders is read.

    Args:
        config: Which images, and how many statements.
        output: The file to write.

    Raises:
        InputError: The images are missing or not NLVR's, or the file cannot be written.
    """
    check_file(output)
    files = _files_of_first_order(config)
    console = make_console(stderr=True)
    show = functools.partial(track, console=console, disable=not console.is_terminal)
    with closing_archives():
        scenes = read_scenes((file.name, _pixels(file)) for file in show(files, "reading images"))
    names = [_name(file).removesuffix("0") for file in files]
    generator = random.Random(config.seed)
    statements = itertools.islice(
        balanced_statements(scenes, config.kind, config.most_words, config.seed), config.count
    )
    with atomic_file(output) as partial, partial.open("w", encoding="utf-8") as lines:
        for number, made in enumerate(show(statements, "writing statements", config.count)):
            line = {
                "id": f"{pathlib.Path(output).stem}-{number}",
                "image": f"{names[made.image]}{generator.randrange(ORDERS)}",
                "sentence": made.sentence,
                "answers": str(made.is_true),
            }
            lines.write(json.dumps(line) + "\n")


def balanced_statements(
    scenes: Scenes, kind: str, most_words: int, seed: int
) -> Iterator[Statement]:
    """Draw statements without end; each sentence is true of half of its images.

    Args:
        scenes: The images.
        kind: One of `SYMBOLS`.
        most_words: Words of the longest sentence.
        seed: Seed of sentences and images.

    Raises:
        InputError: Hardly any sentence is true of some of the images and false of others.
    """
    grammar = Grammar(nlvr_rules())
    generator = random.Random(seed)
    choice = np.random.default_rng(seed)
    of_towers = np.flatnonzero(scenes.is_tower)
    scattered = np.flatnonzero(~scenes.is_tower)
    left_out = 0
    while left_out < _MOST_TRIES:
        # Each kind as often as among the images.
        is_tower = generator.random() * len(scenes) < len(of_towers)
        images = of_towers if is_tower else scattered
        sentence, meaning = grammar.draw(SYMBOLS[kind][is_tower], generator)
        left_out += 1
        if len(sentence.split()) > most_words:
            continue
        candidates = choice.choice(images, _CANDIDATES)
        chosen = _choose(candidates, meaning(scenes.take(candidates)))
        if chosen:
            left_out = 0
            for image, is_true in chosen:
                yield Statement(sentence, image, is_true)
    raise InputError("the images are too few, or too much alike, for statements about them")


def _choose(candidates: np.ndarray, is_true: np.ndarray) -> list[tuple[int, bool]]:
    """Return half of the images with either truth, or none if there are too few."""
    half = IMAGES_PER_STATEMENT // 2
    parts = [(candidates[is_true == truth][:half], truth) for truth in (True, False)]
    if any(len(set(images.tolist())) < half for images, _ in parts):
        return []
    return [(int(image), truth) for images, truth in parts for image in images]


def _files_of_first_order(config: StatementsConfig) -> Sequence[InputFile]:
    found = find_inputs(config.images)
    files = [file for file in found if _FIRST_ORDER.fullmatch(_name(file)) and _is_in(file, config)]
    if not files:
        where = f" in the folders {', '.join(config.folders)}" if config.folders else ""
        raise InputError(
            f"{' '.join(config.images)}: no images{where} are named as NLVR's first orders, such "
            "as train-72-0-0.png"
        )
    return files


def _name(file: InputFile) -> str:
    return parse_name(name_of_file(file.name)).stem


def _is_in(file: InputFile, config: StatementsConfig) -> bool:
    folder = "".join(parse_name(file.name).folders[-1:])
    return not config.folders or any(
        fnmatch.fnmatchcase(folder, pattern) for pattern in config.folders
    )


def _pixels(file: InputFile) -> np.ndarray:
    try:
        with open_input(file) as content:
            return decode_image(io.BytesIO(content.read()))
    except InputError as error:
        raise InputError(f"{file.name}: {error}") from error
    except READ_ERRORS as error:
        raise InputError(f"{file.name}: the file is damaged or cut short") from error
