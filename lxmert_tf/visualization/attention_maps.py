"""Attention probabilities of a model for one sentence and one image."""

import dataclasses
from typing import Any

import numpy as np

from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import PresetModel, load_preset
from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.serving.image_text_preprocessor import ImageTextPreprocessor
from lxmert_tf.serving.predictor import check_not_empty
from lxmert_tf.visualization.region_names import region_names

MEAN = "mean"


@dataclasses.dataclass(frozen=True)
class AttentionMaps:
    """Attention probabilities of all layers and heads.

    Attributes:
        pieces: The T word pieces of the sentence, with [CLS] and [SEP].
        regions: The R regions of the image.
        region_names: The extractor's name of each region, or "" if it has none.
        layers: For each kind (see `KINDS`) a list over layers of float32 [heads, query, key].
    """

    pieces: list[str]
    regions: Regions
    region_names: list[str]
    layers: dict[str, list[np.ndarray]]

    def select(self, kind: str, layer: int = -1, head: int | str = MEAN) -> np.ndarray:
        """Return one map.

        Args:
            kind: One of `KINDS`.
            layer: Layer from 0, or negative from the end.
            head: Head from 0, or negative from the end, or "mean" of all heads.

        Returns:
            float32 [query, key]; each row sums to 1.

        Raises:
            InputError: The layer or head does not exist.
        """
        layers = self.layers[kind]
        heads = layers[index_of(kind, "layer", layer, len(layers))]
        if head == MEAN:
            return heads.mean(axis=0)
        return heads[index_of(kind, "head", int(head), len(heads))]


def index_of(kind: str, what: str, number: int, count: int) -> int:
    """Return the index from 0 of a layer or head.

    Args:
        kind: Kind of attention, for messages.
        what: "layer" or "head", for messages.
        number: Number from 0, or negative from the end.
        count: Number of layers or heads.

    Raises:
        InputError: The number is out of range.
    """
    if -count <= number < count:
        return number % count
    valid = f": use 0 to {count - 1}, or -1 to -{count}" if count > 1 else ": use 0" * count
    raise InputError(f"{what} {number} is out of range: {kind} has {count_of(what, count)}{valid}")


def count_of(what: str, count: int) -> str:
    """Return a number of layers or heads in words, such as "1 layer" or "2 heads"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def attention_maps(
    directory, image: np.ndarray, sentence: str, extractor: RegionExtractor | None = None
) -> AttentionMaps:
    """Return what a model attends to when it reads a sentence about an image.

    Args:
        directory: A preset of any model, with its vocabulary and extractor.
        image: uint8 [height, width, 3].
        sentence: The sentence; it is cut after 20 word pieces, as when a model answers.
        extractor: Region extractor to use; the one that the preset names if None.

    Raises:
        InputError: The preset is missing, broken or incomplete, the sentence is empty, or the
            extractor does not fit the model or finds nothing in the image.

    Example:
        ```python
        maps = attention_maps("presets/vqa", read_image("cat.jpg"), "what is the cat on?")
        maps.select("language_to_vision", layer=-1)  # float32 [word pieces, regions]
        ```
    """
    check_not_empty([sentence], "sentence")
    reader = AttentionReader(load_preset(directory), str(directory), extractor)
    return reader.read(reader.extractor.extract(image), sentence)


class AttentionReader:
    """Reads the attention of a model in memory.

    Args:
        model: Any model, with its vocabulary.
        source: Name of the model in messages.
        extractor: Region extractor to use; the one that the model names if None.

    Attributes:
        extractor: The region extractor.

    Raises:
        InputError: The model has no vocabulary or extractor, or the extractor does not fit it.
    """

    def __init__(self, model: PresetModel, source: str, extractor: RegionExtractor | None = None):
        self._backbone: Any = getattr(model, "backbone", model)
        self._preprocessor = ImageTextPreprocessor(model, source, extractor)
        self.extractor = self._preprocessor.extractor

    def read(self, regions: Regions, sentence: str) -> AttentionMaps:
        """Return what the model attends to when it reads a sentence about an image.

        Args:
            regions: The regions of the image, from `extractor`.
            sentence: The sentence; it is cut after 20 word pieces, as when a model answers.

        Raises:
            InputError: The sentence is empty, or there are no regions.
        """
        check_not_empty([sentence], "sentence")
        preprocessor = self._preprocessor
        inputs = {**preprocessor.text_inputs([sentence]), **preprocessor.region_inputs(regions)}
        attentions = self._backbone(inputs, output_attentions=True)["attentions"]
        return AttentionMaps(
            pieces=[preprocessor.vocabulary[i] for i in inputs["token_ids"][0].numpy()],
            regions=regions,
            region_names=region_names(self.extractor, regions),
            layers={
                kind: [layer[0].numpy() for layer in layers] for kind, layers in attentions.items()
            },
        )
