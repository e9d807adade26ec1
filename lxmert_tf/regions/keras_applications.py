"""Regions without a detector: the cells of a grid, with features of `keras.applications`."""

import contextlib
import difflib
import inspect
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from PIL import Image
from tensorflow import keras

from lxmert_tf.errors import InputError, first_line
from lxmert_tf.regions.extractor import RegionExtractor, Regions, check_integer
from lxmert_tf.regions.loaded_once import LoadedOnce

IMAGENET = "imagenet"
# Beyond these, a picture takes gigabytes.
MOST_CELLS = 100
LARGEST_SIZE = 4096

# Pixels per side that the published weights were trained with, where it is not 224.
USUAL_SIZE = 224
OTHER_SIZES = {
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
    "InceptionResNetV2": 299,
    "InceptionV3": 299,
    "NASNetLarge": 331,
    "ResNetRS50": 160,
    "ResNetRS101": 192,
    "ResNetRS152": 256,
    "ResNetRS200": 256,
    "ResNetRS270": 256,
    "ResNetRS350": 320,
    "ResNetRS420": 320,
    "Xception": 299,
}


class KerasApplicationsExtractor(RegionExtractor):
    """Extracts grid features, as in "In Defense of Grid Features for Visual Question Answering".

    The picture is scaled to a square, so its aspect ratio is lost: every picture takes the same
    time and memory, and each cell covers the same share of it. The network's last feature map is
    averaged over cells x cells equal areas, whatever the map's size. There are no objects and no
    attributes. The paper: Jiang et al. 2020, arXiv 2001.03615.

    The network computes in float32 under any Keras policy of the program. While it is made, at the
    first image, that policy and, during a download, stdout are changed for the whole program, so
    other threads should make no layers then.

    Args:
        backbone: Name of a model in `keras.applications`.
        weights: "imagenet", which Keras downloads once; an HDF5 file of the backbone's weights,
            with or without the classifier of 1000 classes; or None for random weights, which are
            always the same.
        cells: The grid has cells x cells cells.
        image_size: Pixels per side of the square; the size of the published weights if None.

    Raises:
        InputError: An argument is out of range, or the file is missing.

    Example:
        >>> extractor = KerasApplicationsExtractor("ResNet50", weights="resnet50_notop.h5")
        >>> extractor.extract(read_image("photo.jpg")).features.shape
        (36, 2048)
    """

    name = "keras_applications"

    def __init__(
        self,
        backbone: str = "ResNet50",
        weights: str | None = IMAGENET,
        cells: int = 6,
        image_size: int | None = None,
    ):
        backbones = _backbones()
        if str(backbone) not in backbones:
            similar = difflib.get_close_matches(str(backbone), backbones) or ["ResNet50"]
            raise InputError(
                f"keras.applications has no backbone {backbone!r}; it has {', '.join(similar)}, ..."
            )
        if weights is not None and not isinstance(weights, str):
            raise InputError(f"weights is {weights!r}; it must be {IMAGENET!r}, a file, or null")
        if weights not in (None, IMAGENET):
            _check_file(weights)
        check_integer("cells", cells, 1, MOST_CELLS)
        if image_size is not None:
            check_integer("image_size", image_size, 1, LARGEST_SIZE)
        self.backbone = backbone
        self.weights = weights
        self.cells = cells
        self.image_size = image_size
        self.max_regions = cells**2
        self._make = backbones[backbone]
        self._preprocess = inspect.getmodule(self._make).preprocess_input  # type: ignore[union-attr]
        self._size = image_size or OTHER_SIZES.get(backbone, USUAL_SIZE)
        self._boxes = _grid_boxes(cells)
        self._network = LoadedOnce(self._load)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "backbone": self.backbone,
            "weights": self.weights,
            "cells": self.cells,
            "image_size": self.image_size,
        }

    @property
    def feature_size(self) -> int:  # type: ignore[override]
        """The number of channels of the feature map. The first use loads the network."""
        return self._network().output_shape[-1]

    def extract(self, image: np.ndarray) -> Regions:
        [regions] = self.extract_batch([image])
        return regions

    def extract_batch(self, images: Sequence[np.ndarray]) -> list[Regions]:
        if not images:
            return []
        pixels = np.stack([self._square(image) for image in images])
        pixels = self._preprocess(pixels, data_format="channels_last")
        maps = np.asarray(self._network().predict_on_batch(pixels), np.float32)
        features = average_cells(maps, self.cells)
        return [Regions(features=cells, boxes=self._boxes.copy()) for cells in features]

    def _square(self, image: np.ndarray) -> np.ndarray:
        size = (self._size, self._size)
        # Pillow averages when it scales down, unlike most resizing in TensorFlow.
        picture = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        return np.asarray(picture, np.float32)

    def _load(self):
        # A half-precision policy of the program would give other features.
        with _policy("float32"):
            return self._build()

    def _build(self):
        if self.weights == IMAGENET:
            # Keras reports downloads on stdout, where commands print answers. Until the network
            # is made, what other threads print goes to stderr, too.
            with contextlib.redirect_stdout(sys.stderr):
                return self._make_network(IMAGENET)
        network = self._make_network(None)
        if self.weights is None:
            _randomize(network)
        else:
            self._read_weights(network, self.weights)
        return network

    def _make_network(self, weights: str | None):
        shape = (self._size, self._size, 3)
        try:
            return self._make(include_top=False, weights=weights, input_shape=shape)
        except ValueError as error:
            raise InputError(f"backbone {self.backbone}: {first_line(error)}") from error
        except Exception as error:
            # What Keras raises if it cannot download is a plain Exception.
            raise InputError(self._no_download(error)) from error

    def _no_download(self, error: Exception) -> str:
        url = re.search(r"https?://\S+\.h5", str(error))
        if url is None:
            return f"backbone {self.backbone}: {first_line(error)}"
        file = url[0].rpartition("/")[2]
        return (
            f"cannot download the ImageNet weights of {self.backbone}: get {url[0]} on another "
            f"computer and save it as ~/.keras/models/{file}, or set weights to a file"
        )

    def _read_weights(self, network, path: str) -> None:
        """Load a file of weights of the network, or of the whole classifier."""
        try:
            network.load_weights(path)
            return
        except Exception as error:
            # h5py and Keras raise nearly everything for damaged files.
            reason = first_line(error)
        with contextlib.suppress(Exception):
            classifier = self._make(include_top=True, weights=None)
            classifier.load_weights(path)
            # The classifier's own layers are the last ones.
            network.set_weights(classifier.get_weights()[: len(network.weights)])
            return
        raise InputError(f"{path}: these are not weights of {self.backbone} ({reason})")


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Set Keras's policy for new layers, which is the whole process's, and restore it."""
    usual = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(usual)


def _backbones() -> dict[str, Any]:
    """Return the functions in `keras.applications` that make a model, by name."""
    members = {name: getattr(keras.applications, name) for name in dir(keras.applications)}
    return {name: make for name, make in members.items() if inspect.isfunction(make)}


def _check_file(path: str) -> None:
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file; weights must be {IMAGENET!r}, a file, or null")
    # Keras takes other names for TensorFlow checkpoints, and loads what it finds of those.
    if not path.endswith((".h5", ".hdf5")):
        raise InputError(f"{path}: the name of a file of weights must end in .h5 or .hdf5")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path}: not an HDF5 file, or damaged")


def _randomize(network) -> None:
    """Draw the kernels from a generator with a fixed seed: any process makes the same network."""
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        if "kernel" not in variable.name:
            continue
        # A depthwise kernel, [height, width, channels, 1], reads one channel.
        inputs = variable.shape[:2] if "depthwise" in variable.name else variable.shape[:-1]
        scale = np.sqrt(2 / np.prod(inputs))
        variable.assign(random.normal(scale=scale, size=variable.shape))


def _grid_boxes(cells: int) -> np.ndarray:
    """Return the boxes of a grid's cells, row by row, float32 [cells * cells, 4]."""
    edges = np.arange(cells + 1) / cells
    boxes = [
        (edges[column], edges[row], edges[column + 1], edges[row + 1])
        for row in range(cells)
        for column in range(cells)
    ]
    return np.array(boxes, np.float32)


def average_cells(maps: np.ndarray, cells: int) -> np.ndarray:
    """Average feature maps over the cells of a grid, by area.

    Args:
        maps: float32 [B, H, W, C].
        cells: Cells per side.

    Returns:
        float32 [B, cells * cells, C], row by row.
    """
    rows, columns = (_shares(cells, size) for size in maps.shape[1:3])
    features = np.einsum("ih,jw,bhwc->bijc", rows, columns, maps, optimize=True)
    return features.reshape(len(maps), cells**2, -1)


def _shares(cells: int, size: int) -> np.ndarray:
    """Return the share of each of `size` pixels in the average of each cell, [cells, size]."""
    starts, pixels = np.arange(cells)[:, None] / cells, np.arange(size) / size
    ends = np.minimum(starts + 1 / cells, pixels + 1 / size)
    overlaps = np.maximum(ends - np.maximum(starts, pixels), 0)
    return (overlaps * cells).astype(np.float32)
