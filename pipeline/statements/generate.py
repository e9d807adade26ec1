"""Balanced statements and questions about NLVR's images, written as a file of `json_lines`."""

import dataclasses
import fnmatch
import functools
import io
import itertools
import json
import pathlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
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
from pipeline.statements.nlvr_questions import (
    LESSONS,
    SentenceKind,
    kinds_of_lesson,
    sentence_rules,
)
from pipeline.statements.scenes import Scenes, read_scenes

# Of each sentence, so that it alone does not tell the answer: each statement is true of half of its
# images, as in NLVR (Suhr et al. 2017, section 3).
IMAGES_PER_SENTENCE = 4
# Images that are tried for a sentence. One whose answer is nearly always the same is left out.
_CANDIDATES = 64
# Sentences that may be left out in a row before the images are taken to be too few.
_MOST_TRIES = 1_000
_FIRST_ORDER = re.compile(r".+-0")


class AnsweredSentence(NamedTuple):
    """A statement or question about an image.

    Args:
        sentence: The sentence.
        image: Index of the image.
        answer: "True" or "False", a number, or a color.
        tells_boxes_apart: Whether the answer depends on the order of the boxes.
    """

    sentence: str
    image: int
    answer: str
    tells_boxes_apart: bool


@dataclasses.dataclass(frozen=True)
class StatementsConfig:
    """What `write_statements` writes.

    Args:
        images: Files, folders, zip archives, or patterns of NLVR's images.
        folders: Names or patterns of the folders whose images are used; empty for all.
        count: Number of sentences, each about one image.
        most_words: Words of the longest sentence.
        lesson: 1 to 3 to mix in questions and simpler statements, from which a model learns to
            find, count, and compare; the first is the simplest. 0 for statements alone.
        seed: Seed of the sentences and of the choice of images.

    Raises:
        InputError: A number is out of range.
    """

    images: tuple[str, ...]
    folders: tuple[str, ...] = ()
    count: int = 500_000
    most_words: int = 30
    lesson: int = 0
    seed: int = 0

    def __post_init__(self):
        # Hardly any statement is shorter than "there is a blue square".
        for name, least in (("count", 1), ("most_words", 5), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 <= self.lesson <= LESSONS:
            raise InputError(f"lesson is {self.lesson}; it must be from 1 to {LESSONS}, or 0")


def write_statements(config: StatementsConfig, output) -> None:
    """Write statements about images.

    A line is {"id", "image", "sentence", "answers", "source"}. The answer is "True" or "False";
    with a lesson also a number or a color. The source is that of NLVR's own statements, so that a
    mixture of both does not look like other data to the pipeline. Only the first of the six orders
    of the boxes is read. Sentences that do not depend on it are about a random one.

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
    sentences = itertools.islice(
        balanced_sentences(scenes, kinds_of_lesson(config.lesson), config.most_words, config.seed),
        config.count,
    )
    with atomic_file(output) as partial, partial.open("w", encoding="utf-8") as lines:
        for number, made in enumerate(show(sentences, "writing statements", config.count)):
            order = 0 if made.tells_boxes_apart else generator.randrange(ORDERS)
            line = {
                "id": f"{pathlib.Path(output).stem}-{number}",
                "image": f"{names[made.image]}{order}",
                "sentence": made.sentence,
                "answers": made.answer,
                "source": "nlvr",
            }
            lines.write(json.dumps(line) + "\n")


def balanced_sentences(
    scenes: Scenes, kinds: Mapping[SentenceKind, float], most_words: int, seed: int
) -> Iterator[AnsweredSentence]:
    """Draw sentences without end, each for images with different answers.

    Args:
        scenes: The images.
        kinds: Kinds of sentences -> how often each is drawn, relative to the others.
        most_words: Words of the longest sentence.
        seed: Seed of sentences and images.

    Raises:
        InputError: Hardly any sentence has different answers for the images.
    """
    grammar = Grammar(sentence_rules())
    generator = random.Random(seed)
    choice = np.random.default_rng(seed)
    of_towers = np.flatnonzero(scenes.is_tower)
    scattered = np.flatnonzero(~scenes.is_tower)
    left_out = 0
    while left_out < _MOST_TRIES:
        left_out += 1
        [kind] = generator.choices(list(kinds), list(kinds.values()))
        # Both sorts of images as often as there are.
        is_tower = generator.random() * len(scenes) < len(of_towers)
        symbol, images = (kind.towers, of_towers) if is_tower else (kind.scattered, scattered)
        if symbol is None:
            continue
        sentence, meaning = grammar.draw(symbol, generator)
        if len(sentence.split()) > min(most_words, kind.most_words):
            continue
        candidates = choice.choice(images, _CANDIDATES)
        chosen = _choose(candidates, meaning(scenes.take(candidates)).astype(int), generator)
        if chosen:
            left_out = 0
        for image, answer in chosen:
            yield AnsweredSentence(sentence, image, kind.answers[answer], kind.tells_boxes_apart)
    raise InputError("the images are too few, or too much alike, for statements about them")


def _choose(
    candidates: np.ndarray, answers: np.ndarray, generator: random.Random
) -> list[tuple[int, int]]:
    """Return images with their answers, as many of each answer as possible; none if too few differ.

    Args:
        candidates: Indices of images.
        answers: Of each; negative for none.
        generator: Chooses among more answers than there will be images.
    """
    images = {
        answer: list(dict.fromkeys(candidates[answers == answer].tolist()))
        for answer in np.unique(answers[answers >= 0]).tolist()
    }
    turns = generator.sample(sorted(images), len(images)) * IMAGES_PER_SENTENCE
    chosen = turns[:IMAGES_PER_SENTENCE]
    if len(images) < 2 or any(len(images[answer]) < chosen.count(answer) for answer in chosen):
        return []
    return [(images[answer].pop(0), answer) for answer in chosen]


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
