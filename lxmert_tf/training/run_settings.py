"""What a run is told, as its directory keeps it to compare when the run is resumed."""

import dataclasses
import hashlib
from typing import Any

from lxmert_tf.presets import PresetModel
from lxmert_tf.training.config import TrainingConfig
from lxmert_tf.training.words import Words


def run_settings(
    kind: str, config: TrainingConfig, model: PresetModel, words: Words
) -> dict[str, Any]:
    """The settings of a `RunDirectory`.

    Args:
        kind: of training; the key of `config` among them.
        config: how to train.
        model: that is trained. Of its words and answers only a digest is kept.
        words: of the training sentences.
    """
    text = "\n".join([*model.vocabulary, *(model.answers or ())])
    return {
        kind: dataclasses.asdict(config),
        "model": model.config.to_dict(),
        "sentences": words.sentences,
        "words_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
