"""Transfer of a pre-trained answer head to another answer table, as the release does."""

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
    """Result of the transfer of an answer head.

    Args:
        found: Number of answers that the source knows.
        missing: The other answers, in the order of the table.
    """

    found: int
    missing: tuple[str, ...]


def answer_model_from_preset(
    directory, answers: Sequence[str], **kwargs
) -> tuple[LxmertAnswerClassifier, AnswerTransfer | None]:
    """Build a model for a table of answers from a preset of any class.

    Args:
        directory: Preset whose backbone, vocabulary and extractor are used.
        answers: Answers in the order of the logits.
        **kwargs: Arguments of `LxmertAnswerClassifier`, which override those of the preset.

    Returns:
        The model, and the result of the transfer of the answer head. The result is None and the
        head has initial weights if the preset has no answers or no answer head for one image.

    Raises:
        InputError: The preset is missing or damaged.

    Example:
        >>> from lxmert_tf import LxmertConfig
        >>> config = LxmertConfig(
        ...     hidden_size=64, num_attention_heads=1, num_answers=2,
        ...     language_layers=1, relationship_layers=1, cross_layers=1,
        ... )
        >>> LxmertAnswerClassifier(config, answers=["no", "yes"]).save_preset("preset")
        >>> model, transfer = answer_model_from_preset("preset", ["yes", "maybe"])
        >>> transfer
        AnswerTransfer(found=1, missing=('maybe',))
    """
    source = load_preset(directory)
    model = LxmertAnswerClassifier(
        dataclasses.replace(source.config, num_answers=len(answers)),
        answers=list(answers),
        **{"vocabulary": source.vocabulary, "extractor": source.extractor, **kwargs},
    )
    backbone = getattr(source, "backbone", source)
    pairs = zip(model_variables(backbone), model_variables(model.backbone), strict=True)
    for theirs, ours in pairs:
        ours.variable.assign(theirs.variable)
    if not isinstance(source, SourceModel) or source.answers is None:
        return model, None
    return model, transfer_answer_head(source, model)


def transfer_answer_head(source: SourceModel, target: LxmertAnswerClassifier) -> AnswerTransfer:
    """Copy an answer head to one with another answer table, as the release does for fine-tuning.

    The first dense layer and its LayerNorm are copied unchanged. In the last layer, each answer
    gets the column of the same answer or of one that `normalize_answer` makes equal. Answers that
    the source does not know get zeros, so their logits start at zero.

    Args:
        source: Model with answers.
        target: Model with answers, whose answer head is overwritten.

    Raises:
        ValueError: A model has no answers, or the heads have different widths.
    """
    if source.answers is None or target.answers is None:
        raise ValueError("both models must have answers")
    theirs, ours = source.answer_head, target.answer_head
    their_shape, our_shape = (tuple(head.transform.kernel.shape) for head in (theirs, ours))
    if their_shape != our_shape:
        raise ValueError(f"the source's answer head is {their_shape}, the target's {our_shape}")
    ours.transform.set_weights(theirs.transform.get_weights())
    ours.transform_norm.set_weights(theirs.transform_norm.get_weights())

    columns = _columns(source.answers, target.answers)
    known = columns >= 0
    ours.answers.set_weights(
        [np.where(known, values[..., columns], 0) for values in theirs.answers.get_weights()]
    )
    missing = tuple(answer for answer, found in zip(target.answers, known) if not found)
    return AnswerTransfer(int(known.sum()), missing)


def _columns(table: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Return the index of each answer in the table, or -1: int [A]."""
    exact = {answer: index for index, answer in enumerate(table)}
    # Reversed, so that the first of several answers with one normal form wins.
    normalized = {normalize_answer(answer): exact[answer] for answer in reversed(table)}
    return np.array([exact.get(a, normalized.get(normalize_answer(a), -1)) for a in answers])
