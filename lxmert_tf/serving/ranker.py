"""Sentences ranked by how well they match an image, with the matched head of pre-training."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from lxmert_tf.errors import InputError, check_not_empty
from lxmert_tf.models.presets import load_preset
from lxmert_tf.models.pretrainer import LxmertPretrainer
from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.serving.image_text_preprocessor import ImageTextPreprocessor

# Sentences per call of the model, which bounds the memory.
BATCH_SIZE = 64


class Ranker:
    """Scores sentences about an image by cross-modality matching (paper section 3.1).

    Args:
        directory: A preset of an `LxmertPretrainer` with its vocabulary and extractor.
        extractor: Region extractor to use; the one that the preset names if None.

    Attributes:
        model: The model.
        extractor: The region extractor.

    Raises:
        InputError: The preset is missing, incomplete, or of another model, or the extractor does
            not fit it.

    Example:
        ```python
        ranker = Ranker("presets/pretrained")
        ranker.rank(image, ["a blue circle", "a red triangle"])  # [("a red triangle", 0.97), ...]
        ```
    """

    def __init__(self, directory, extractor: RegionExtractor | None = None):
        model = load_preset(directory)
        if not isinstance(model, LxmertPretrainer):
            raise InputError(
                f"{directory}: a preset of {type(model).__name__}, which has no matched "
                "head; use a preset of LxmertPretrainer"
            )
        self.model = model
        self._preprocessor = ImageTextPreprocessor(model, str(directory), extractor)
        self.extractor = self._preprocessor.extractor

    def rank(self, image: np.ndarray, sentences: Sequence[str]) -> list[tuple[str, float]]:
        """Rank sentences about one image, which is encoded once for all of them.

        Args:
            image: uint8 [height, width, 3].
            sentences: The sentences.

        Returns:
            Each sentence with the probability that it describes this image, best first. Equal
            ones stay in the given order.

        Raises:
            InputError: A sentence is empty, or the extractor finds nothing in the image.
        """
        check_not_empty(sentences, "sentence")
        return self.rank_about(self.extractor.extract(image), sentences)

    def rank_about(self, regions: Regions, sentences: Sequence[str]) -> list[tuple[str, float]]:
        """Rank sentences about an image whose regions are known; see `rank`.

        Args:
            regions: The regions of the image, from `extractor`.
            sentences: The sentences.

        Returns:
            As `rank`.

        Raises:
            InputError: A sentence is empty, or there are no regions.
        """
        check_not_empty(sentences, "sentence")
        inputs = self._preprocessor.region_inputs(regions)
        mask = inputs["region_mask"]
        state = self.model.backbone.encode_image(
            inputs["region_features"], inputs["region_boxes"], mask
        )
        text = self._preprocessor.text_inputs(sentences)
        # Sentences with the same word pieces are scored once: rows of a batch differ by rounding,
        # which would order equal sentences at random.
        _, rows, inverse = np.unique(
            text["token_ids"].numpy(), axis=0, return_index=True, return_inverse=True
        )
        probabilities: list[float] = []
        for start in range(0, len(rows), BATCH_SIZE):
            batch = rows[start : start + BATCH_SIZE]
            words = {name: tf.gather(values, batch) for name, values in text.items()}
            probabilities += self._probabilities(words, state, mask)
        ranked = [(sentence, probabilities[i]) for sentence, i in zip(sentences, inverse)]
        return sorted(ranked, key=lambda pair: -pair[1])

    def _probabilities(self, inputs, state, mask) -> list[float]:
        count = len(inputs["token_ids"])
        state, mask = (tf.repeat(tensor, count, axis=0) for tensor in (state, mask))
        backbone, padding_mask = self.model.backbone, inputs["padding_mask"]
        text_state = backbone.encode_text(inputs["token_ids"], inputs["segment_ids"], padding_mask)
        outputs = backbone.relate(text_state, padding_mask, state, mask)
        logits = tf.cast(self.model.matched_head(outputs["pooled_output"]), tf.float32)
        return tf.nn.softmax(logits)[:, 1].numpy().tolist()
