"""Predictions of a model for the examples of records, and its accuracy by question type."""

import collections
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from rich.table import Table

from lxmert_tf.data.batches import (
    consecutive_images,
    example_batches,
    naming_damaged_files,
    read_records,
    region_inputs,
    statement_labels,
)
from lxmert_tf.errors import InputError
from lxmert_tf.evaluation.confusion import NO_ANSWER, AnsweredQuestion, Confusion, ShownImage
from lxmert_tf.evaluation.question_ids import index_by_id
from lxmert_tf.evaluation.score_report import NO_TYPE
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.answer_names import load_with_answers
from lxmert_tf.models.pair_classifier import STATEMENT_ANSWERS, LxmertPairClassifier
from lxmert_tf.models.presets import MODELS, describe_preset
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor
from lxmert_tf.terminal import make_console

# The question type under which the accuracy on all questions is reported.
OVERALL = "all"
AnsweringModel = LxmertAnswerClassifier | LxmertPairClassifier


def load_answering_model(directory, answers: Sequence[str] | None = None) -> AnsweringModel:
    """Load a preset of a model that answers questions or judges statements.

    Args:
        directory: The preset.
        answers: Names of the answers, in the order of the logits; those of the preset if None.

    Raises:
        InputError: The preset is missing or damaged, or its model answers nothing or has another
            number of answers.
    """
    name = describe_preset(directory).model
    if name in MODELS and name not in (kind.__name__ for kind in typing.get_args(AnsweringModel)):
        raise InputError(
            f"{directory}: a preset of {name}, which answers no questions; fine-tune it first: "
            f"lxmert finetune --init-from {directory}"
        )
    model: Any = load_with_answers(directory, answers)
    return model


def predict_answers(
    model: AnsweringModel, files: Sequence[str], max_regions: int, batch_size: int = 256
) -> dict[str, str]:
    """Answer each question of records; the records need no answers.

    Args:
        model: A model with its vocabulary and answers.
        files: TFRecord files of scenes, grouped or flat.
        max_regions: The most regions that an image has.
        batch_size: Questions per batch.

    Returns:
        A dict from question ID to answer, in the order of the records. A pair classifier answers
        "True" or "False".

    Raises:
        InputError: A file is damaged, has no questions, or has features of another width; a
            question ID occurs twice; or the model cannot answer.

    Example:
        >>> model = load_preset("build/demo/preset")
        >>> predict_answers(model, find_records("build/demo/records/test"), max_regions=8)
    """
    predictions: list[tuple[str, str]] = []
    with naming_damaged_files(files):
        examples = _read(model, files, max_regions, batch_size)
        for batch, answers, _ in _answer(model, examples, files):
            predictions += zip((name.decode() for name in batch["id"].numpy()), answers)
    if not predictions:
        raise InputError(f"{_describe(files)}: no questions")
    return index_by_id(predictions, _describe(files))


def evaluate_answers(
    model: AnsweringModel,
    files: Sequence[str],
    max_regions: int,
    batch_size: int = 256,
    confusion: Confusion | None = None,
) -> dict[str, tuple[float, int]]:
    """Measure the soft accuracy on records with answers.

    Args:
        model: A model with its vocabulary and answers.
        files: TFRecord files of scenes, grouped or flat.
        max_regions: The most regions that an image has.
        batch_size: Questions per batch.
        confusion: Gets all questions with their answers, if it is given.

    Returns:
        A dict from question type to (accuracy in 0..1, number of questions), with the same over
        all questions under "all".

    Raises:
        InputError: A file is damaged, has no questions, or has features of another width; a
            statement about two images is neither true nor false; or the model cannot answer.
    """
    scores_by_type: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    with naming_damaged_files(files):
        examples = _read(model, files, max_regions, batch_size)
        if isinstance(model, LxmertPairClassifier):
            examples = examples.map(_spell_labels_as_answers)
        for batch, answers, sureness in _answer(model, examples, files):
            scores = _earned(batch, answers)
            if confusion is not None:
                for question in _answered(batch, answers, sureness, scores):
                    confusion.add(question)
            types = batch["question_type"].numpy()
            for name in np.unique(types):
                scores_by_type[name.decode() or NO_TYPE].append(scores[types == name])
    if not scores_by_type:
        raise InputError(f"{_describe(files)}: no questions")
    result = {name: np.concatenate(parts) for name, parts in sorted(scores_by_type.items())}
    result[OVERALL] = np.concatenate(list(result.values()))
    return {name: (float(scores.mean()), len(scores)) for name, scores in result.items()}


def answer_batch(model: AnsweringModel, batch: dict[str, Any]) -> list[AnsweredQuestion]:
    """Answer the examples of one batch without tracing the model.

    Args:
        model: A model with its vocabulary and answers.
        batch: From `example_batches`, with answers.

    Returns:
        Each question with its answer, in the order of the batch.
    """
    if isinstance(model, LxmertPairClassifier):
        batch = _spell_labels_as_answers(batch)
    names = model.answers or []
    ids, scores = _best_answers(model)(batch["text"], batch["image_id"], region_inputs(batch))
    answers = [names[number] for number in ids.numpy()]
    return list(_answered(batch, answers, scores.numpy(), _earned(batch, answers)))


def print_accuracy(accuracy: dict[str, tuple[float, int]]) -> None:
    """Print the result of `evaluate_answers` as a table."""
    table = Table("question type", title="Accuracy")
    table.add_column("questions", justify="right")
    table.add_column("accuracy", justify="right")
    for name, (share, count) in accuracy.items():
        table.add_row(name, f"{count:,}", f"{share:.2%}", end_section=name == OVERALL)
    make_console().print(table)


def _read(model, files, max_regions, batch_size) -> tf.data.Dataset:
    if not isinstance(model, AnsweringModel):
        raise InputError(f"a {type(model).__name__} answers no questions; fine-tune it first")
    if model.vocabulary is None:
        raise InputError("the model has no vocabulary, which its sentences need")
    if model.answers is None:
        raise InputError("the answers of the model have no names; name them with --answers FILE")
    return example_batches(
        read_records(files), batch_size, max_regions, images_per_scene=model.images_per_scene
    )


def _answer(
    model: AnsweringModel, examples: tf.data.Dataset, files: Sequence[str]
) -> Iterator[tuple[dict[str, Any], list[str], np.ndarray]]:
    """Yield each batch with the model's answers and their scores, float32 [B] in 0..1."""
    best = tf.function(_best_answers(model), reduce_retracing=True)
    answers = model.answers or []
    for batch in examples:
        width = batch["region_features"].shape[-1]
        if width != model.config.region_feature_size:
            raise InputError(
                f"{_describe(files)}: its regions have {width} features, those of the model "
                f"{model.config.region_feature_size}; ingest with the settings that the model was "
                "trained with"
            )
        ids, scores = best(batch["text"], batch["image_id"], region_inputs(batch))
        yield batch, [answers[number] for number in ids.numpy()], scores.numpy()


def _best_answers(model: AnsweringModel) -> Callable:
    """Return the function from sentences and images to the best answers and their scores."""
    preprocessor = LxmertTextPreprocessor(model.vocabulary, pad_to_longest=True)

    def best(text, image_ids, regions):
        if isinstance(model, LxmertPairClassifier):
            inputs = {**preprocessor(text), **regions}
            logits = model(inputs, output_attentions=False, packed=model.packs)
            scores = tf.nn.softmax(tf.cast(logits, tf.float32))
        else:
            logits = _answer_pairs(model, preprocessor, text, image_ids, regions)
            scores = tf.sigmoid(tf.cast(logits, tf.float32))
        # Not the best of the scores, of which several may round to 1.
        return tf.argmax(logits, axis=-1), tf.reduce_max(scores, axis=-1)

    return best


def _answer_pairs(model: LxmertAnswerClassifier, preprocessor, text, image_ids, regions):
    """Return logits [B, A]; equal questions, and consecutive ones about an image, share its state.

    Other questions about an image are not looked for: two data sets may have images of one id.
    """
    distinct, question = tf.unique(text)
    text_inputs = preprocessor(distinct)
    first, run = consecutive_images(image_ids)
    images = {name: tf.gather(value, first) for name, value in regions.items()}
    return model.answer_pairs(
        tf.gather(model.encode_question(text_inputs), question),
        tf.gather(text_inputs["padding_mask"], question),
        tf.gather(model.encode_image(**images), run),
        regions["region_mask"],
    )


def _spell_labels_as_answers(batch: dict[str, Any]) -> dict[str, Any]:
    """Spell the answers to statements as the model does; fail if one is neither."""
    spelled = tf.gather(tf.constant(STATEMENT_ANSWERS), statement_labels(batch))
    return {**batch, "answers": batch["answers"].with_flat_values(spelled)}


def _answered(
    batch: dict[str, Any], answers: Sequence[str], sureness: np.ndarray, earned: np.ndarray
) -> Iterator[AnsweredQuestion]:
    """Yield the questions of a batch with their answers."""
    images = _shown_images(batch)
    texts = zip(*(batch[name].numpy() for name in ("id", "text", "source")))
    gold = zip(batch["answers"].to_list(), batch["scores"].to_list())
    for i, (text, right) in enumerate(zip(texts, gold)):
        name, sentence, source = (value.decode() for value in text)
        yield AnsweredQuestion(
            id=name,
            text=sentence,
            source=source,
            expected=_expected(answers[i], float(earned[i]), *right),
            given=answers[i],
            # A model that diverged may give NaN, which JSON has not.
            score=round(float(np.nan_to_num(sureness[i])), 4),
            earned=round(float(earned[i]), 4),
            images=images[i],
        )


def _shown_images(batch: dict[str, Any]) -> list[tuple[ShownImage, ...]]:
    """Return the images of each example of a batch."""
    ids = batch["image_id"].numpy()
    columns = [
        # A model of one image has no axis of images.
        batch[name].numpy().reshape([ids.size, *batch[name].shape[ids.ndim :]])
        for name in ("image_size", "region_boxes", "region_mask")
    ]
    images = [
        ShownImage(name.decode(), int(height), int(width), _corners(boxes[mask > 0]))
        for name, (height, width), boxes, mask in zip(ids.ravel(), *columns)
    ]
    per_example = ids.size // len(ids)
    return [tuple(images[i : i + per_example]) for i in range(0, ids.size, per_example)]


def _corners(boxes: np.ndarray) -> list[tuple[float, float, float, float]]:
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.astype(float).round(4).tolist()]


def _expected(given: str, earned: float, gold: list[bytes], scores: list[float]) -> str:
    """Return the answer that earns the most: the given one, if no other earns more."""
    best = max(scores, default=0.0)
    if earned > 0 and earned >= best:
        return given
    return gold[scores.index(best)].decode() if gold else NO_ANSWER


def _earned(batch: dict[str, Any], answers: Sequence[str]) -> np.ndarray:
    """Return the score that each answer earns, float32 [B]."""
    gold = batch["answers"].to_list(), batch["scores"].to_list()
    return np.array([_score(*row) for row in zip(answers, *gold)], np.float32)


def _score(answer: str, gold: list[bytes], scores: list[float]) -> float:
    # Of an answer that is given twice the higher score counts, as in training.
    return max((s for a, s in zip(gold, scores) if a.decode() == answer), default=0.0)


def _describe(files: Sequence[str]) -> str:
    return str(files[0]) if len(files) == 1 else f"{files[0]} (of {len(files)} files)"
