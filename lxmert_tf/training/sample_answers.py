"""A model's answers to a few validation questions, drawn while it trains."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lxmert_tf.data.batches import example_batches, read_records
from lxmert_tf.evaluation.evaluate import AnsweringModel, answer_batch
from lxmert_tf.regions.picture_finder import PictureFinder
from lxmert_tf.visualization.answer_card import answer_card

SAMPLES = 8
# The samples are chosen among so many first questions.
CANDIDATES = 128


def sample_drawer(
    model: Any, files: Sequence[str], max_regions: int, pictures: PictureFinder
) -> Callable[[], np.ndarray] | None:
    """Return what draws the first question about each of the first images, with its answer.

    Args:
        model: The model in training.
        files: TFRecord files of scenes.
        max_regions: The most regions that an image has.
        pictures: Finds the pictures; of an image without one, the boxes are drawn.

    Returns:
        A function that returns a card for each question with the answer of the model at that time,
        uint8 [N, height, width, 3]. None if the model answers no questions, or there are none.
    """
    if not isinstance(model, AnsweringModel) or not files:
        return None
    batch = _first_batch(files, max_regions, model.images_per_scene)
    if batch is None:
        return None

    def draw() -> np.ndarray:
        cards = [
            answer_card(
                question,
                [pictures.find(image.id, question.source) for image in question.images],
            )
            for question in answer_batch(model, batch)
        ]
        return np.stack(cards)

    return draw


def _first_batch(files, max_regions: int, images_per_scene: int) -> dict[str, Any] | None:
    """Return the first question about each of the first images."""
    examples = example_batches(
        read_records(files), CANDIDATES, max_regions, images_per_scene=images_per_scene
    )
    for batch in examples.take(1):
        first: dict[bytes, int] = {}
        for row, names in enumerate(batch["image_id"].numpy().reshape(len(batch["id"]), -1)):
            first.setdefault(b" ".join(names), row)
        rows = tf.constant(list(first.values())[:SAMPLES])
        return {name: tf.gather(value, rows) for name, value in batch.items()}
    return None
