"""Import of the published detector: Hugging Face's directory, detectron2's pickles, and caffe."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lxmert_tf.config_file import read_mapping
from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.converters.formats.caffemodel import read_caffemodel
from lxmert_tf.converters.formats.file_kind import foreign_kind
from lxmert_tf.converters.formats.numpy_pickle import read_numpy_pickle
from lxmert_tf.converters.formats.safetensors_file import read_safetensors
from lxmert_tf.converters.formats.torch_reading import read_torch_file
from lxmert_tf.converters.importing import ImportReport, load_tensors
from lxmert_tf.detector.boxes import centered_anchors
from lxmert_tf.detector.caffe_weights import published_tensors
from lxmert_tf.detector.config import Flavor
from lxmert_tf.detector.detector import Detector
from lxmert_tf.detector.foreign_config import config_of_tensors, foreign_fields
from lxmert_tf.detector.weight_names import ANCHORS, detector_variables
from lxmert_tf.errors import InputError
from lxmert_tf.hub import DETECTOR, local_directory
from lxmert_tf.text_file import read_lines

# Files of a directory, of which the first that exists is read.
_WEIGHTS = ("model.safetensors", "weights.safetensors", "pytorch_model.bin")
_CONFIGS = ("config.yaml", "config.json")
_CAFFEMODEL = ".caffemodel"
_OBJECTS, _ATTRIBUTES = "objects_vocab.txt", "attributes_vocab.txt"
# The magic number of PyTorch's older format, as a pickle of its own.
_TORCH_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_ZIP = b"PK\x03\x04"


def import_detector(
    checkpoint, config=None, flavor: Flavor | None = None
) -> tuple[Detector, ImportReport]:
    """Build the detector that a checkpoint holds and load its weights.

    Nothing in the file is executed.

    Args:
        checkpoint: Directory laid out like unc-nlp/frcnn-vg-finetuned, with weights, config and
            names, also named `hf://ORGANIZATION/NAME`; or a file of weights: safetensors, PyTorch,
            a pickle of arrays as `faster_rcnn_from_caffe_attr.pkl`, or caffe's `NAME.caffemodel`.
        config: File with the rules: of Hugging Face's project, of the extraction with caffe, or of
            our `DetectorConfig`. If None, the directory's config.yaml or config.json, else the
            published rules. All sizes of the network come from the tensors.
        flavor: Rules of the detector; if None, those of the config, else "caffe" for a caffemodel
            and "hf" for other files.

    Returns:
        The detector, with the names of objects and attributes if objects_vocab.txt and
        attributes_vocab.txt are in the directory or beside the file, and the report.

    Raises:
        InputError: A file is missing, damaged or of another kind.

    Example:
        detector, report = import_detector("build/frcnn-vg-finetuned")
        detector.save_preset("build/detector")
    """
    arguments, tensors = _open(local_directory(checkpoint, DETECTOR), config, flavor)
    try:
        detector = Detector(**arguments)
    except ValueError as error:
        raise InputError(f"{checkpoint}: {error}") from error
    return detector, _load(detector, tensors)


def is_foreign(directory: pathlib.Path) -> bool:
    """Return whether a directory holds a checkpoint of another project, and not a preset."""
    is_preset = (directory / "preset.json").is_file()
    return not is_preset and any((directory / name).is_file() for name in _WEIGHTS)


def read_foreign_arguments(directory: pathlib.Path) -> dict[str, Any]:
    """Return the constructor's arguments of the detector in a directory of another project.

    Raises:
        InputError: As for `import_detector`.
    """
    arguments, _ = _open(directory)
    return arguments


def load_foreign_weights(detector: Detector, directory: pathlib.Path) -> None:
    """Load all weights of a detector from a directory of another project.

    Args:
        detector: A detector of these sizes.
        directory: The directory.

    Raises:
        InputError: As for `import_detector`, or a tensor is missing or has another shape.
    """
    _, tensors = _open(directory)
    report = _load(detector, tensors)
    if not report.is_complete():
        raise InputError(
            f"{directory}: {report.problem()}; "
            "`lxmert import-weights --source detector --partial` accepts this"
        )


def _open(
    checkpoint: pathlib.Path, config=None, flavor: Flavor | None = None
) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    """Return the constructor's arguments of a checkpoint's detector, and the tensors."""
    if not checkpoint.exists():
        raise InputError(f"checkpoint not found: {checkpoint}")
    weights = checkpoint
    if checkpoint.is_dir():
        weights = _weights_of(checkpoint)
        if config is None:
            found = (checkpoint / name for name in _CONFIGS if (checkpoint / name).is_file())
            config = next(found, None)
    objects, attributes = _names(weights.parent / _OBJECTS), _names(weights.parent / _ATTRIBUTES)
    fields = foreign_fields(read_mapping(config)) if config is not None else {}
    where = str(weights if config is None else config)
    if weights.suffix == _CAFFEMODEL:
        fields.setdefault("flavor", "caffe")
        tensors = published_tensors(read_caffemodel(weights), fields, where)
    else:
        tensors = _without_counters(_read(weights))
    if flavor is not None:
        fields["flavor"] = flavor
    settings = config_of_tensors(tensors, fields, where)
    names = {"object_names": objects, "attribute_names": attributes}
    return {"config": settings, **names}, tensors


def _load(detector: Detector, tensors: Mapping[str, StoredTensor]) -> ImportReport:
    report = load_tensors(detector_variables(detector), tensors)
    if ANCHORS in report.loaded:
        _set_caffe_anchors(detector)
    return report


def _set_caffe_anchors(detector: Detector) -> None:
    """Give the flavor "caffe" a checkpoint's own anchors, whose last pixels are inside the boxes.

    The anchors that detectron2 makes by itself lie elsewhere than caffe's, with which the network
    was trained; then the flavor keeps caffe's.
    """
    layer = detector.get_layer("proposal_selection")
    anchors = layer.hf_anchors.numpy()
    default = centered_anchors(layer.anchor_sizes, layer.anchor_ratios)
    if not np.allclose(anchors, default, rtol=0, atol=1e-3):
        layer.caffe_anchors.assign(anchors - np.array([0, 0, 1, 1], np.float32))


def _weights_of(directory: pathlib.Path) -> pathlib.Path:
    for name in _WEIGHTS:
        if (directory / name).is_file():
            return directory / name
    raise InputError(f"{directory}: has no weights ({', '.join(_WEIGHTS)})")


def _names(path: pathlib.Path) -> list[str] | None:
    """Return the names in a vocabulary, of several for one class the first."""
    if not path.is_file():
        return None
    return [line.split(",")[0].strip().lower() for line in read_lines(path)]


def _read(path: pathlib.Path) -> dict[str, StoredTensor]:
    if foreign_kind(path) == "a safetensors file":
        return read_safetensors(path)
    with path.open("rb") as file:
        head = file.read(len(_TORCH_LEGACY))
    is_torch = head == _TORCH_LEGACY or head.startswith(_ZIP) or not head.startswith(b"\x80")
    return read_torch_file(path) if is_torch else _read_pickle(path)


def _read_pickle(path: pathlib.Path) -> dict[str, StoredTensor]:
    """Read a pickle of arrays by name, alone or under the key "model"."""
    try:
        with path.open("rb") as file:
            content = read_numpy_pickle(file, path.stat().st_size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: not a dict of arrays but a {type(content).__name__}")
    return {
        _checked_name(name, path): _stored(name, value, path) for name, value in content.items()
    }


def _checked_name(name: Any, path: pathlib.Path) -> str:
    if not isinstance(name, str):
        raise InputError(f"{path}: the name {name!r} is not a string")
    return name


def _stored(name: str, value: Any, path: pathlib.Path) -> StoredTensor:
    numbers = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub"
    if not numbers:
        raise InputError(f"{path}: {name!r} is not an array of numbers")
    read: Callable[[], np.ndarray] = functools.partial(np.asarray, value, np.float32)
    return StoredTensor(value.shape, read)


def _without_counters(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return the tensors without PyTorch's counters of training batches."""
    return {
        name.removeprefix("module."): tensor
        for name, tensor in tensors.items()
        if not name.endswith(".num_batches_tracked")
    }
