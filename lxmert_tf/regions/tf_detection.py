"""Regions of a model of the TensorFlow Object Detection API."""

import os
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from lxmert_tf.errors import InputError
from lxmert_tf.hub import is_hub_name, local_directory, pinned_name
from lxmert_tf.regions.detection_graph import DetectionNetwork, describe_feature_maps, read_model
from lxmert_tf.regions.extractor import RegionExtractor, Regions, check_integer
from lxmert_tf.regions.label_map import read_label_map
from lxmert_tf.regions.loaded_once import LoadedOnce

# Larger pictures are scaled down to this size (longest side, in pixels). No published model reads
# more than 1536 pixels, and the memory for a picture grows with its area.
LARGEST_SIDE = 2048
# The feature map is sampled at POOLED x POOLED points of each box.
POOLED = 7


class TfDetectionExtractor(RegionExtractor):
    """Finds objects with a model of the TensorFlow Object Detection API.

    Any exported model works: its outputs are `detection_boxes`, `detection_scores`,
    `detection_classes`, and `num_detections`. The features of a box are the mean of 7 x 7 points
    of a feature map, sampled as `tf.image.crop_and_resize` does. A picture without objects has one
    region, the whole picture. Nothing but the graph is executed, and a graph that does more than
    compute is refused.

    Args:
        model: Directory of a SavedModel, also named `hf://ORGANIZATION/NAME`, or a frozen graph
            (`frozen_inference_graph.pb`). A name of the Hugging Face Hub is stored with its commit.
        feature_map: Name of a node of the graph or of its tensor, [1, height, width, channels]. If
            it is None, the error lists feature maps of the model.
        max_regions: The most objects of a picture; those with the highest scores are taken.
        min_confidence: The lowest score of an object.
        label_map: The model's label map (`.pbtxt`), with the names of its classes.

    Raises:
        InputError: An argument is out of range, or a file is missing or is not a label map.

    Example:
        >>> extractor = TfDetectionExtractor(
        ...     "ssd/frozen_inference_graph.pb", "FeatureExtractor/MobilenetV2/Conv_1/Relu6"
        ... )
        >>> extractor.extract(read_image("photo.jpg")).boxes
    """

    name = "tf_detection"

    def __init__(
        self,
        model: str | os.PathLike,
        feature_map: str | None = None,
        max_regions: int = 36,
        min_confidence: float = 0.0,
        label_map: str | os.PathLike | None = None,
    ):
        _check_path("model", model)
        if not is_hub_name(model):
            _check_exists("model", model)
        if label_map is not None:
            _check_path("label_map", label_map)
            _check_exists("label_map", label_map)
        check_integer("max_regions", max_regions, 1)
        if not isinstance(min_confidence, int | float) or not 0 <= min_confidence <= 1:
            raise InputError(f"min_confidence is {min_confidence!r}; it must be in 0..1")
        self.model = pinned_name(model, None)
        self.feature_map = feature_map
        self.max_regions = max_regions
        self.min_confidence = min_confidence
        self.label_map = None if label_map is None else str(label_map)
        self._network = LoadedOnce(self._load)
        if label_map is not None:
            self.object_names = read_label_map(str(label_map))
        if feature_map is None:
            candidates = describe_feature_maps(read_model(local_directory(model, None)).graph)
            raise InputError(f"feature_map is missing; {model} has {candidates}")

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "model": self.model,
            "feature_map": self.feature_map,
            "max_regions": self.max_regions,
            "min_confidence": self.min_confidence,
            "label_map": self.label_map,
        }

    @property
    def feature_size(self) -> int:  # type: ignore[override]
        """The number of channels of the feature map. The first use loads the model."""
        return self._network().channels

    def _load(self) -> DetectionNetwork:
        return DetectionNetwork(read_model(local_directory(self.model, None)), self.feature_map)

    def extract(self, image: np.ndarray) -> Regions:
        network = self._network()
        boxes, scores, classes, feature_map = network(_within(image, LARGEST_SIDE))
        # Models pad their outputs with zeros, and may let boxes end outside the picture.
        boxes = np.clip(boxes, 0, 1)
        found = np.isfinite(boxes).all(1) & (scores > 0) & (scores >= self.min_confidence)
        found &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        best = np.flatnonzero(found)
        best = best[np.argsort(-scores[best], kind="stable")][: self.max_regions]
        boxes, scores, classes = boxes[best], scores[best], classes[best]
        if not len(best):
            boxes = np.array([[0, 0, 1, 1]], np.float32)
            scores, classes = np.zeros(1, np.float32), np.zeros(1)
        object_ids = np.rint(classes).astype(np.int64)
        self._check_ids(object_ids)
        part = network.part_with_picture(*image.shape[:2])
        return Regions(
            features=_pool(feature_map, boxes * [*part, *part]),
            boxes=boxes[:, [1, 0, 3, 2]],
            object_ids=object_ids,
            object_confidences=np.minimum(scores, 1),
        )

    def _check_ids(self, ids: np.ndarray) -> None:
        if ids.min() < 0 or (self.object_names and ids.max() >= len(self.object_names)):
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise InputError(
                f"{self.model} found an object of class {wrong}, but the classes of "
                f"{self.label_map or 'a model'} are 1 to {len(self.object_names) - 1 or '...'}"
            )


def _check_path(argument: str, value) -> None:
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{argument} is {value!r}; it must be a path")


def _check_exists(argument: str, value) -> None:
    if not os.path.exists(value):
        raise InputError(f"{argument} {value}: no such file or directory")


def _within(image: np.ndarray, side: int) -> np.ndarray:
    picture = Image.fromarray(image)
    # Does nothing if the picture is smaller.
    picture.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _pool(feature_map, boxes: np.ndarray) -> np.ndarray:
    """Return the mean of a feature map [1, H, W, C] in boxes [R, 4] (y1 x1 y2 x2), [R, C]."""
    indices = np.zeros(len(boxes), np.int32)
    crops = tf.image.crop_and_resize(
        feature_map, boxes.astype(np.float32), indices, (POOLED, POOLED)
    )
    return crops.numpy().mean(axis=(1, 2))
