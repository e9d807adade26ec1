"""The detector as a region extractor, as configs and the option `--detector` name it."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from lxmert_tf.detector.config import Flavor
from lxmert_tf.detector.detector import Detector
from lxmert_tf.detector.presets import read_arguments
from lxmert_tf.errors import InputError
from lxmert_tf.hub import DETECTOR, pinned_name
from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.regions.loaded_once import LoadedOnce


class DetectorExtractor(RegionExtractor):
    """Extracts the regions that a detector finds.

    The constructor reads only the sizes and names of the preset. The weights are loaded for the
    first image, as float32 under every dtype policy: the same picture has the same regions always.

    Args:
        preset: Preset of the detector. One of the Hugging Face Hub is stored with its commit.
        flavor: Rules to use, "hf" or "caffe"; those of the preset if None.

    Raises:
        InputError: The preset is missing, damaged or not a detector's, or there is no such flavor.
    """

    name = "detector"

    def __init__(self, preset, flavor: Flavor | None = None):
        if not isinstance(preset, str | os.PathLike):
            raise InputError(f"preset is {preset!r}; it must be the directory of a detector")
        arguments = read_arguments(preset)
        config = arguments["config"]
        if flavor is not None:
            config = dataclasses.replace(config, flavor=flavor)
        self.preset = pinned_name(str(preset), DETECTOR)
        self.flavor = config.flavor
        self.feature_size = config.feature_size
        self.max_regions = config.max_regions
        self.object_names = tuple(arguments.get("object_names") or ())
        self.attribute_names = tuple(arguments.get("attribute_names") or ())
        self._detector = LoadedOnce(self._load)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "preset": self.preset, "flavor": self.flavor}

    def extract(self, image: np.ndarray) -> Regions:
        [regions] = self.extract_batch([image])
        return regions

    def extract_batch(self, images: Sequence[np.ndarray]) -> list[Regions]:
        return self._detector().detect(images)

    def _load(self) -> Detector:
        return Detector.from_preset(self.preset, flavor=self.flavor, dtype="float32")
