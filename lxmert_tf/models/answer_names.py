"""Answer names for presets without any, such as most directories of Hugging Face."""

import logging
from collections.abc import Sequence

from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import PresetModel, describe_preset, load_preset

_logger = logging.getLogger(__name__)
_NAMED = "LxmertAnswerClassifier"


def load_with_answers(directory, answers: Sequence[str] | None = None) -> PresetModel:
    """Load a preset, with names of its answers.

    Args:
        directory: As for `load_preset`.
        answers: The names, in the order of the logits; those of the preset if None.

    Raises:
        InputError: As for `load_preset`, or the model has another number of answers, or none, or
            they have other names already.
    """
    if answers is None:
        return load_preset(directory)
    description = describe_preset(directory)
    if description.model != _NAMED:
        raise InputError(
            f"{directory}: --answers names the answers of {_NAMED}, not of {description.model}"
        )
    if description.answers is not None and description.answers != list(answers):
        raise InputError(
            f"{directory}: the answers have names already; --answers is for models without"
        )
    return load_preset(directory, answers=list(answers))


def load_with_numbered_answers(directory, answers: Sequence[str] | None = None) -> PresetModel:
    """Load a preset; answers without names are numbered.

    They are then called "answer 0" and so on, and a warning says how to name them.

    Args:
        directory: As for `load_preset`.
        answers: As for `load_with_answers`.

    Raises:
        InputError: As for `load_with_answers`.
    """
    if answers is None:
        description = describe_preset(directory)
        if description.model == _NAMED and description.answers is None:
            _logger.warning(
                "%s: the answers have no names and are numbered; name them with --answers FILE, "
                "such as the release's trainval_label2ans.json",
                directory,
            )
            answers = [f"answer {i}" for i in range(description.config.num_answers)]
    return load_with_answers(directory, answers)
