"""Sentences by how well they go with a picture, from the matched head of pre-training."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import load_preset
from lxmert_tf.models.pretrainer import LxmertPretrainer
from lxmert_tf.serving.predictor import PicturePreprocessor, check_sentences

# Sentences that go through the model together, which bounds the memory.
BATCH_SIZE = 64


class Ranker:
    """Scores sentences about a picture by cross-modality matching (paper section 3.1).

    Args:
        directory: a preset of an `LxmertPretrainer` with its vocabulary and extractor.

    Raises:
        InputError: there is no such preset, or it is another model's, or a part is missing.

    Example:
        ranker = Ranker("presets/pretrained")
        ranker.rank(image, ["a blue circle", "a red triangle"])  # [("a red triangle", 0.97), ...]
    """

    def __init__(self, directory):
        self._model = load_preset(directory)
        if not isinstance(self._model, LxmertPretrainer):
            raise InputError(
                f"{directory}: is a preset of {type(self._model).__name__}, which has no matched "
                "head; name a preset of LxmertPretrainer"
            )
        self._preprocessor = PicturePreprocessor(self._model, directory)

    def rank(self, image: np.ndarray, sentences: Sequence[str]) -> list[tuple[str, float]]:
        """Ranks sentences about one picture, which is encoded once for all of them.

        Args:
            image: uint8 [height, width, 3].
            sentences: in words.

        Returns:
            each sentence with the probability that it is of this picture, best first; equal ones
            in the order in which they came.

        Raises:
            InputError: a sentence is empty.
        """
        check_sentences(sentences)
        regions = self._preprocessor.region_inputs(self._preprocessor.extractor.extract(image))
        mask = regions["region_mask"]
        state, _ = self._model.backbone.encode_image(
            regions["region_features"], regions["region_boxes"], mask
        )
        text = self._preprocessor.text_inputs(sentences)
        # Sentences of the same pieces go through the model once: rows of a batch differ by the
        # rounding of their sums, so that equal ones would come in any order.
        _, rows, which = np.unique(
            text["token_ids"].numpy(), axis=0, return_index=True, return_inverse=True
        )
        probabilities = []
        for start in range(0, len(rows), BATCH_SIZE):
            some = rows[start : start + BATCH_SIZE]
            inputs = {name: tf.gather(values, some) for name, values in text.items()}
            probabilities += self._probabilities(inputs, state, mask)
        ranked = [(sentence, probabilities[i]) for sentence, i in zip(sentences, which)]
        return sorted(ranked, key=lambda pair: -pair[1])

    def _probabilities(self, inputs, state, mask) -> list[float]:
        count = len(inputs["token_ids"])
        state, mask = (tf.repeat(tensor, count, axis=0) for tensor in (state, mask))
        outputs, _ = self._model.backbone.read_image(inputs, state, mask)
        logits = tf.cast(self._model.matched_head(outputs["pooled_output"]), tf.float32)
        return tf.nn.softmax(logits)[:, 1].numpy().tolist()
