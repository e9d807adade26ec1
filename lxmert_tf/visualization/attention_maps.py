"""The kinds of attention, as the models' `attentions` name them."""

import dataclasses

import numpy as np

from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import load_preset
from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.serving.predictor import PicturePreprocessor, check_sentences

MEAN = "mean"


@dataclasses.dataclass(frozen=True)
class AttentionMaps:
    """The attention probabilities of one sentence and one picture.

    Args:
        pieces: the sentence's T word pieces, with [CLS] and [SEP], as the model reads them.
        regions: the picture's R regions.
        region_names: what the extractor calls each; empty where it can't tell.
        layers: by kind (see `KINDS`) a list over layers of float32 [heads, query, key].
    """

    pieces: list[str]
    regions: Regions
    region_names: list[str]
    layers: dict[str, list[np.ndarray]]

    def select(self, kind: str, layer: int = -1, head: int | str = MEAN) -> np.ndarray:
        """One map of a kind.

        Args:
            kind: see `layers`.
            layer: from 0, or negative from the end.
            head: from 0, or negative from the end, or "mean" over all heads.

        Returns:
            float32 [query, key]; each row sums to 1.

        Raises:
            InputError: there is no such layer or head.
        """
        layers = self.layers[kind]
        heads = layers[index_of(kind, "layer", layer, len(layers))]
        if head == MEAN:
            return heads.mean(axis=0)
        return heads[index_of(kind, "head", head, len(heads))]


def index_of(kind: str, what: str, number: int, count: int) -> int:
    """The index from 0 of a layer or head that may be counted from the end.

    Raises:
        InputError: the number is out of range.
    """
    if -count <= number < count:
        return number % count
    there = f"from 0 to {count - 1}, or from -1 back to -{count}" if count else "none to show"
    raise InputError(f"{what} {number} is out of range: {kind} has {count} {what}s, {there}")


def attention_maps(directory, image: np.ndarray, sentence: str) -> AttentionMaps:
    """Lets a model read a sentence about a picture and keeps what it attends to.

    Args:
        directory: a preset of any model, with its vocabulary and extractor.
        image: uint8 [height, width, 3].
        sentence: in words; the pieces after the 20th are cut, as when a model answers.

    Raises:
        InputError: the preset is missing, broken or lacks a part, or the sentence is empty.
    """
    check_sentences([sentence])
    model = load_preset(directory)
    preprocessor = PicturePreprocessor(model, directory)
    regions = preprocessor.extractor.extract(image)
    inputs = {**preprocessor.text_inputs([sentence]), **preprocessor.region_inputs(regions)}
    backbone = getattr(model, "backbone", model)
    attentions = backbone(inputs, output_attentions=True)["attentions"]
    vocabulary = model.vocabulary
    return AttentionMaps(
        pieces=[vocabulary[i] for i in inputs["token_ids"][0].numpy()],
        regions=regions,
        region_names=region_names(preprocessor.extractor, regions),
        layers={
            kind: [layer[0].numpy() for layer in layers] for kind, layers in attentions.items()
        },
    )


def region_names(extractor: RegionExtractor, regions: Regions) -> list[str]:
    """What an extractor calls each region, as "blue rectangle"; empty where it can't tell."""
    attributes = _names(extractor.attribute_names, regions, "attribute")
    objects = _names(extractor.object_names, regions, "object")
    return [" ".join(filter(None, pair)) for pair in zip(attributes, objects)]


def _names(names: tuple[str, ...], regions: Regions, kind: str) -> list[str]:
    ids = getattr(regions, f"{kind}_ids")
    if ids is None or not names:
        return [""] * len(regions)
    sure = getattr(regions, f"{kind}_confidences") > 0
    return [names[i] if certain else "" for i, certain in zip(ids, sure)]
