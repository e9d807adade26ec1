"""Preset directories of detectors. Only this module knows their layout.

config.json           the fields of DetectorConfig
preset.json           {"format": 1, "model": "Detector"}
objects.txt           one name per line, in the order of the ids; may be absent
attributes.txt        the same for attributes
weights.safetensors   the tensors under their published names, and the anchors of the flavor "caffe"

A directory of another project is loaded like one (see `lxmert_tf.detector.importing`).
"""

import functools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from lxmert_tf.atomic_write import atomic_directory
from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.safetensors_file import read_safetensors, write_safetensors
from lxmert_tf.converters.weight_names import NamedVariable
from lxmert_tf.detector.config import DetectorConfig
from lxmert_tf.detector.weight_names import detector_variables
from lxmert_tf.errors import InputError
from lxmert_tf.hub import DETECTOR, local_directory
from lxmert_tf.models.presets import FORMAT, read_about
from lxmert_tf.text_file import read_lines, write_text

_CONFIG, _ABOUT, _WEIGHTS = "config.json", "preset.json", "weights.safetensors"
_NAMES = {"object_names": "objects.txt", "attribute_names": "attributes.txt"}
_CAFFE_ANCHORS = "proposal_generator.anchor_generator.caffe_anchors"


def write_preset(detector, directory) -> None:
    """Write a detector, whole or not at all; an older preset there is replaced.

    Args:
        detector: A `Detector`.
        directory: Directory to write; missing parents are created.

    Raises:
        InputError: The path is a file, or a directory that is not a preset.
    """
    tensors = {
        name: StoredTensor(shape, functools.partial(_tensor, named, name))
        for named in _variables(detector)
        for name, shape in named.shapes().items()
    }
    # The name is the same for a subclass, whose presets are read as this class's.
    about = {"format": FORMAT, "model": "Detector"}
    with atomic_directory(directory, marker=_ABOUT) as fresh:
        write_text(fresh / _CONFIG, detector.config.to_json())
        write_text(fresh / _ABOUT, json.dumps(about, indent=1) + "\n")
        for attribute, file in _NAMES.items():
            names = getattr(detector, attribute)
            if names is not None:
                write_text(fresh / file, "".join(f"{name}\n" for name in names))
        write_safetensors(fresh / _WEIGHTS, tensors)


def read_arguments(directory) -> dict[str, Any]:
    """Return the constructor's arguments of the detector in a preset.

    Args:
        directory: A preset, a directory laid out like unc-nlp/frcnn-vg-finetuned, or either as
            `hf://ORGANIZATION/NAME`.

    Raises:
        InputError: The directory or a part of it is missing, damaged or not a detector's.
    """
    # It imports the detector, which imports this module.
    from lxmert_tf.detector import importing

    directory = local_directory(directory, DETECTOR)
    if not directory.is_dir():
        raise InputError(f"preset not found: {directory}")
    if importing.is_foreign(directory):
        return importing.read_foreign_arguments(directory)
    if not (directory / _ABOUT).is_file():
        raise InputError(f"{directory}: not a preset of a detector, which would have {_ABOUT}")
    model = read_about(directory / _ABOUT)["model"]
    if model != "Detector":
        raise InputError(f"{directory}: a preset of {model}, not of a detector")
    arguments: dict[str, Any] = {"config": DetectorConfig.from_file(directory / _CONFIG)}
    for attribute, file in _NAMES.items():
        if (directory / file).is_file():
            arguments[attribute] = read_lines(directory / file)
    return arguments


def load_weights(detector, directory) -> None:
    """Load the weights of a preset.

    Args:
        detector: A `Detector` of the preset's config.
        directory: As for `read_arguments`.

    Raises:
        InputError: A tensor is missing or has another shape.
    """
    from lxmert_tf.detector import importing

    directory = local_directory(directory, DETECTOR)
    if importing.is_foreign(directory):
        return importing.load_foreign_weights(detector, directory)
    path = directory / _WEIGHTS
    tensors = read_safetensors(path)
    for named in _variables(detector):
        for name, shape in named.shapes().items():
            if name not in tensors or tensors[name].shape != shape:
                found = list(tensors[name].shape) if name in tensors else "missing"
                raise InputError(f"{path}: {name} is {found}; it must be {list(shape)}")
        named.variable.assign(named.join({name: tensors[name].read() for name in named.names}))


def _variables(detector) -> Iterator[NamedVariable]:
    yield from detector_variables(detector)
    anchors = detector.get_layer("proposal_selection").caffe_anchors
    yield NamedVariable(anchors, (_CAFFE_ANCHORS,))


def _tensor(named: NamedVariable, name: str) -> np.ndarray:
    return named.split(named.variable.numpy())[name]
