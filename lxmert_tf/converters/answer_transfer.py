"""The answer head of a pre-trained model for another table of answers."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lxmert_tf.converters.weight_names import model_variables
from lxmert_tf.data.answer_table import normalize_answer
from lxmert_tf.models.answer_classifier import LxmertAnswerClassifier
from lxmert_tf.models.presets import load_preset
from lxmert_tf.models.pretrainer import LxmertPretrainer

SourceModel = LxmertAnswerClassifier | LxmertPretrainer


@dataclasses.dataclass(frozen=True)
class AnswerTransfer:
    """What became of a table of answers.

    Args:
        found: how many of them the source knew.
        missing: the others, in the order of the table.
    """

    found: int
    missing: tuple[str, ...]


def answer_model_from_preset(
    directory, answers: Sequence[str], **kwargs
) -> tuple[LxmertAnswerClassifier, AnswerTransfer | None]:
    """Makes a model for a table of answers from a preset of any class.

    Args:
        directory: the preset; its backbone is taken, its words and its extractor.
        answers: the table, in the order of the logits.
        **kwargs: further arguments of the constructor, or others than the preset's.

    Returns:
        the model; and what its answer head has of the preset's, or None if that has no answer head
        on one image or no answers, and the head is fresh.

    Raises:
        InputError: the directory or a part of it is missing or does not fit the others.
    """
    source = load_preset(directory)
    model = LxmertAnswerClassifier(
        dataclasses.replace(source.config, num_answers=len(answers)),
        answers=list(answers),
        **{"vocabulary": source.vocabulary, "extractor": source.extractor, **kwargs},
    )
    theirs = model_variables(getattr(source, "backbone", source))
    for own, their in zip(model_variables(model.backbone), theirs, strict=True):
        own.variable.assign(their.variable)
    if not isinstance(source, SourceModel) or source.answers is None:
        return model, None
    return model, transfer_answer_head(source, model)


def transfer_answer_head(source: SourceModel, target: LxmertAnswerClassifier) -> AnswerTransfer:
    """Copies an answer head to one with another table, as the release does for fine-tuning.

    The first part is copied whole; of the last layer the column of each answer that the source
    knows, as it stands or under another spelling (`normalize_answer`). Those of the others become
    zero, so that their logits start at zero.

    Args:
        source: with its answers.
        target: with its answers; its answer head is overwritten.

    Raises:
        ValueError: the heads have different widths.
    """
    theirs, own = source.answer_head, target.answer_head
    widths = [head.transform.kernel.shape.as_list() for head in (theirs, own)]
    if widths[0] != widths[1]:
        raise ValueError(f"the first part of the head is {widths[0]}, the target's {widths[1]}")
    for part in ("transform", "transform_norm"):
        for their, variable in zip(getattr(theirs, part).weights, getattr(own, part).weights):
            variable.assign(their)

    columns = np.array(_places(source.answers, target.answers))
    known = columns >= 0
    for name in ("kernel", "bias"):
        values = getattr(theirs.answers, name).numpy()[..., columns]
        getattr(own.answers, name).assign(np.where(known, values, 0))
    missing = tuple(answer for answer, found in zip(target.answers, known) if not found)
    return AnswerTransfer(int(known.sum()), missing)


def _places(table: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where in the table each answer is; -1 where it is not."""
    exact = {answer: place for place, answer in enumerate(table)}
    # Backwards, so that of answers with one spelling the first holds.
    normal = {normalize_answer(answer): exact[answer] for answer in reversed(table)}
    return [exact.get(a, normal.get(normalize_answer(a), -1)) for a in wanted]
