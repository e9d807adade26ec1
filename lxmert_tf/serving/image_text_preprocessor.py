"""Model inputs from an image and sentences, made with what a preset stores."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import PresetModel
from lxmert_tf.models.text_preprocessor import LxmertTextPreprocessor
from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.serving.predictor import check_found, extractor_of_model

# Word pieces per sentence with [CLS] and [SEP], as published.
MAX_LENGTH = 20


class ImageTextPreprocessor:
    """Makes model inputs with the vocabulary and the region extractor of a preset.

    Args:
        model: A model loaded from a preset.
        source: Name of the preset in messages.
        extractor: Region extractor to use; the one that the preset names if None.

    Attributes:
        vocabulary: The word pieces in the order of their ids.
        extractor: The region extractor.

    Raises:
        InputError: The preset has no vocabulary or extractor, or they do not fit the model.
    """

    def __init__(self, model: PresetModel, source: str, extractor: RegionExtractor | None = None):
        if model.vocabulary is None:
            raise InputError(f"{source}: no vocabulary is stored, so it cannot read a sentence")
        self.vocabulary = model.vocabulary
        self.extractor = extractor_of_model(
            model.extractor, model.config.region_feature_size, source, extractor
        )
        length = min(MAX_LENGTH, model.config.max_position_embeddings)
        try:
            self._text = LxmertTextPreprocessor(model.vocabulary, length, pad_to_longest=True)
        except ValueError as error:
            raise InputError(f"{source}: {error}") from error

    def region_inputs(self, regions: Regions) -> dict[str, tf.Tensor]:
        """Return the image's part of a batch of one.

        Args:
            regions: R regions of an image.

        Returns:
            `region_features` [1, R, F], `region_boxes` [1, R, 4] and `region_mask` [1, R].

        Raises:
            InputError: The image has no regions.
        """
        check_found(regions)
        return {
            "region_features": tf.constant(regions.features[np.newaxis], tf.float32),
            "region_boxes": tf.constant(regions.boxes[np.newaxis], tf.float32),
            "region_mask": tf.ones([1, len(regions)], tf.int32),
        }

    def text_inputs(self, sentences: Sequence[str]) -> dict[str, tf.Tensor]:
        """Return the text's part of a batch.

        Args:
            sentences: B sentences.

        Returns:
            `token_ids`, `segment_ids` and `padding_mask`, int32 [B, T]; see
            `LxmertTextPreprocessor`.
        """
        return self._text(tf.constant(list(sentences), tf.string))
