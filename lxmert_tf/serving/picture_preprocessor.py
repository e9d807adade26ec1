"""A picture and sentences as a preset's model wants them."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from lxmert_tf.errors import InputError
from lxmert_tf.presets import PresetModel
from lxmert_tf.regions.extractor import Regions
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.text import LxmertTextPreprocessor

# Word pieces per sentence, with [CLS] and [SEP], as published.
MAX_LENGTH = 20


class PicturePreprocessor:
    """Makes model inputs by the extractor and the vocabulary that a model came with.

    Args:
        model: out of a preset.
        directory: the preset's, for messages.

    Raises:
        InputError: the model came without one of them, or the extractor is not the model's.
    """

    def __init__(self, model: PresetModel, directory):
        if model.vocabulary is None:
            raise InputError(f"{directory}: has no vocabulary, so it cannot read a sentence")
        if model.extractor is None:
            raise InputError(
                f"{directory}: does not say which extractor made the regions it was trained "
                "on, so it cannot look at a picture"
            )
        self.extractor = make_extractor(model.extractor)
        given, wanted = self.extractor.feature_size, model.config.region_feature_size
        if given != wanted:
            raise InputError(
                f"{directory}: its extractor gives {given} features per region, "
                f"but config.region_feature_size is {wanted}"
            )
        length = min(MAX_LENGTH, model.config.max_position_embeddings)
        try:
            self._text = LxmertTextPreprocessor(model.vocabulary, length, pad_to_longest=True)
        except ValueError as error:
            raise InputError(f"{directory}: {error}") from error

    def region_inputs(self, regions: Regions) -> dict[str, tf.Tensor]:
        """The image's part of a batch of one: features [1, R, F], boxes [1, R, 4], mask [1, R]."""
        return {
            "region_features": tf.constant(regions.features[np.newaxis], tf.float32),
            "region_boxes": tf.constant(regions.boxes[np.newaxis], tf.float32),
            "region_mask": tf.ones([1, len(regions)], tf.int32),
        }

    def text_inputs(self, sentences: Sequence[str]) -> dict[str, tf.Tensor]:
        """The sentences' part of a batch, int32 [B, T]; see `LxmertTextPreprocessor`."""
        return self._text(tf.constant(list(sentences), tf.string))


def check_sentences(sentences: Sequence[str]) -> None:
    """Refuses sentences without words.

    Raises:
        InputError: there is one, which its number tells.
    """
    for number, sentence in enumerate(sentences, start=1):
        if not sentence.strip():
            raise InputError(f"sentence {number} is empty; describe the picture in words")
