"""What a model answers to the sentences of records, and its accuracy by question type."""

import collections
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from lxmert_tf.data.batches import (
    example_batches,
    naming_damaged_files,
    read_records,
    region_inputs,
    statement_labels,
)
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.question_ids import by_id
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.pair_classifier import STATEMENT_ANSWERS, LxmertPairClassifier
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor

OVERALL = "all"
AnsweringModel = LxmertAnswerClassifier | LxmertPairClassifier


def evaluate_answers(
    model: AnsweringModel, files: Sequence[str], max_regions: int, batch_size: int = 256
) -> dict[str, tuple[float, int]]:
    """Measures soft accuracy on scenes with answers.

    Args:
        model: with its vocabulary and answers.
        files: TFRecord files of scenes, grouped or flat.
        max_regions: the most that an image has.
        batch_size: sentences at a time.

    Returns:
        {question type: (accuracy in 0..1, questions)}, and the same under "all".

    Raises:
        InputError: a file is damaged, holds no questions, or has features of another width; a
            statement about two images is neither true nor false; the model cannot answer.
    """
    earned: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    with naming_damaged_files(files):
        pairs = _pairs(model, files, max_regions, batch_size)
        if isinstance(model, LxmertPairClassifier):
            pairs = pairs.map(_with_spelt_labels)
        for pair, answers in _answered(model, pairs):
            scores = np.float32([_score(*row) for row in zip(answers, *_gold(pair))])
            kinds = pair["question_type"].numpy()
            for kind in np.unique(kinds):
                earned[kind.decode() or "(none)"].append(scores[kinds == kind])
    if not earned:
        raise InputError(f"{_named(files)}: no questions in it")
    result = {kind: np.concatenate(parts) for kind, parts in sorted(earned.items())}
    result[OVERALL] = np.concatenate(list(result.values()))
    return {kind: (float(scores.mean()), len(scores)) for kind, scores in result.items()}


def predict_answers(
    model: AnsweringModel, files: Sequence[str], max_regions: int, batch_size: int = 256
) -> dict[str, str]:
    """Answers each sentence; the records may have answers or none.

    Args:
        model, files, max_regions, batch_size: as for `evaluate_answers`.

    Returns:
        {sentence id: answer}, in the order of the records; a pair classifier's answers are "True"
        and "False".

    Raises:
        InputError: a file is damaged, holds no questions, or has features of another width; two
            sentences have the same id; the model cannot answer.
    """
    said = []
    with naming_damaged_files(files):
        for pair, answers in _answered(model, _pairs(model, files, max_regions, batch_size)):
            said += zip((name.decode() for name in pair["id"].numpy()), answers)
    if not said:
        raise InputError(f"{_named(files)}: no questions in it")
    return by_id(said, _named(files))


def print_accuracy(accuracy: dict[str, tuple[float, int]]) -> None:
    """Prints what `evaluate_answers` returned, as a table."""
    table = Table("question type", title="Accuracy")
    table.add_column("questions", justify="right")
    table.add_column("accuracy", justify="right")
    for kind, (share, count) in accuracy.items():
        table.add_row(kind, f"{count:,}", f"{share:.2%}", end_section=kind == OVERALL)
    Console().print(table)


def _pairs(model, files, max_regions, batch_size) -> tf.data.Dataset:
    if not isinstance(model, AnsweringModel):
        raise InputError(f"a {type(model).__name__} answers no questions; fine-tune it first")
    if model.vocabulary is None or model.answers is None:
        raise InputError("the model has no vocabulary or no answers; give it both")
    return example_batches(
        read_records(files), batch_size, max_regions, images_per_scene=model.images_per_scene
    )


def _answered(model: AnsweringModel, pairs) -> Iterator[tuple[dict[str, tf.Tensor], list[str]]]:
    """Each batch of `example_batches`, and the model's answers to its sentences."""
    preprocessor = LxmertTextPreprocessor(model.vocabulary, pad_to_longest=True)
    answers = model.answers

    @tf.function(reduce_retracing=True)
    def best(text, regions):
        logits = model({**preprocessor(text), **regions}, output_attentions=False)
        return tf.argmax(logits, axis=-1)

    for pair in pairs:
        numbers = best(pair["text"], region_inputs(pair)).numpy()
        yield pair, [answers[number] for number in numbers]


def _with_spelt_labels(pair):
    """With the answers to statements spelt as the model's; fails where one is neither."""
    spelt = tf.gather(tf.constant(STATEMENT_ANSWERS), statement_labels(pair))
    return {**pair, "answers": pair["answers"].with_flat_values(spelt)}


def _gold(pair) -> tuple[list[list[bytes]], list[list[float]]]:
    return pair["answers"].to_list(), pair["scores"].to_list()


def _score(answer: str, right: list[bytes], scores: list[float]) -> float:
    # Of an answer that is given twice the higher score holds, as in training.
    return max((s for a, s in zip(right, scores) if a.decode() == answer), default=0.0)


def _named(files: Sequence[str]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} (of {len(files)} files)"
