"""The accuracy of an answer model on records, by question type."""

import collections
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from lxmert_tf.data.reading import AnswerTable, naming_damaged_files, pair_batches, read_records
from lxmert_tf.errors import InputError
from lxmert_tf.tasks.answering import LxmertAnswerClassifier
from lxmert_tf.text import LxmertTextPreprocessor

OVERALL = "all"


def evaluate_answers(
    model: LxmertAnswerClassifier, files: Sequence[str], max_regions: int, batch_size: int = 256
) -> dict[str, tuple[float, int]]:
    """Measures soft accuracy on scenes with answers.

    Args:
        model: with its vocabulary and answers.
        files: TFRecord files of scenes, grouped or flat.
        max_regions: the most that an image has.
        batch_size: questions at a time.

    Returns:
        {question type: (accuracy in 0..1, questions)}, and the same under "all".

    Raises:
        InputError: a file is damaged, holds no questions, or has features of another width.
    """
    preprocessor = LxmertTextPreprocessor(model.vocabulary, pad_to_longest=True)
    table = AnswerTable(tuple(model.answers))
    earned: dict[str, list[np.ndarray]] = collections.defaultdict(list)

    @tf.function(reduce_retracing=True)
    def earn(batch):
        regions = ("region_features", "region_boxes", "region_mask")
        logits = model({**preprocessor(batch["text"]), **{name: batch[name] for name in regions}})
        targets = table.targets(batch["answers"], batch["scores"])
        return tf.gather(targets, tf.argmax(logits, axis=-1), batch_dims=1)

    with naming_damaged_files(files):
        for batch in pair_batches(read_records(files), batch_size, max_regions):
            scores = earn(batch).numpy()
            kinds = batch["question_type"].numpy()
            for kind in np.unique(kinds):
                earned[kind.decode() or "(none)"].append(scores[kinds == kind])
    if not earned:
        raise InputError(f"{', '.join(files)}: no questions in it")
    result = {kind: np.concatenate(parts) for kind, parts in sorted(earned.items())}
    result[OVERALL] = np.concatenate(list(result.values()))
    return {kind: (float(scores.mean()), len(scores)) for kind, scores in result.items()}


def print_accuracy(accuracy: dict[str, tuple[float, int]]) -> None:
    """Prints what `evaluate_answers` returned, as a table."""
    table = Table("question type", title="Accuracy")
    table.add_column("questions", justify="right")
    table.add_column("accuracy", justify="right")
    for kind, (share, count) in accuracy.items():
        table.add_row(kind, f"{count:,}", f"{share:.2%}", end_section=kind == OVERALL)
    Console().print(table)
