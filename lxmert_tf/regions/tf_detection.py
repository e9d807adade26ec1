"""Regions of a model of the TensorFlow Object Detection API."""

import dataclasses
import pathlib
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import RegionExtractor, Regions, check_integer

OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")

# Larger pictures are scaled down to this size (longest side, in pixels). No published model reads
# more than 1536 pixels, and the memory for a picture grows with its area.
LARGEST_SIDE = 2048
# The feature map is sampled at POOLED x POOLED points of each box.
POOLED = 7
BACKGROUND = "background"

# Code outside the graph, and files: a detector needs neither.
_PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_FILE_OPS = {"ReadFile", "WriteFile", "MatchingFiles"}
# A SavedModel has these, too, to read and write its variables, but not between picture and boxes.
_CHECKPOINT_OPS = {
    "MergeV2Checkpoints",
    "Restore",
    "RestoreSlice",
    "RestoreV2",
    "Save",
    "SaveSlices",
    "SaveV2",
}
_REFUSED = _PYTHON_OPS | _FILE_OPS | _CHECKPOINT_OPS

# Label maps.
_LARGEST_ID = 1_000_000
_STRING = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_COMMENT = re.compile(rf"({_STRING})|\#[^\n]*")
_ITEM = re.compile(rf"item\s*:?\s*\{{((?:{_STRING}|\{{[^{{}}]*\}}|[^{{}}\"'])*)\}}")
_NESTED = re.compile(rf"({_STRING})|\{{[^{{}}]*\}}")
_FIELD = re.compile(rf"(\w+)\s*:\s*({_STRING}|[^\s,;]+)")

# What a convolution block ends in, for the list of feature maps.
_BLOCK_ENDS = {"Add", "AddV2", "Elu", "LeakyRelu", "Relu", "Relu6", "Selu"}
_FEWEST_CHANNELS = 32
_MOST_LISTED = 6


class TfDetectionExtractor(RegionExtractor):
    """Finds objects with a model of the TensorFlow Object Detection API.

    Any exported model does: its outputs are `detection_boxes`, `detection_scores`,
    `detection_classes`, and `num_detections`. The features of a box are the mean of 7 x 7 points
    of a feature map, sampled as `tf.image.crop_and_resize` does. A picture without objects has one
    region, the whole picture. Nothing but the graph is executed, and a graph that calls Python or
    reads or writes files is refused.

    Args:
        model: Directory of a SavedModel, or a frozen graph (`frozen_inference_graph.pb`).
        feature_map: Name of a node of the graph or of its tensor, [1, height, width, channels]. If
            it is None, the error lists feature maps of the model.
        max_regions: The most objects of a picture; those with the highest scores are taken.
        min_confidence: The lowest score of an object.
        label_map: The model's label map (`.pbtxt`), with the names of its classes.

    Raises:
        InputError: An argument is out of range, or a file is missing or is no label map.

    Example:
        >>> extractor = TfDetectionExtractor(
        ...     "ssd/frozen_inference_graph.pb", "FeatureExtractor/MobilenetV2/Conv_1/Relu6"
        ... )
        >>> extractor.extract(read_image("photo.jpg")).boxes
    """

    name = "tf_detection"

    def __init__(
        self,
        model: str,
        feature_map: str | None = None,
        max_regions: int = 36,
        min_confidence: float = 0.0,
        label_map: str | None = None,
    ):
        for argument, value in (("model", model), ("label_map", label_map)):
            if value is not None and not pathlib.Path(value).exists():
                raise InputError(f"{argument} {value}: no such file or directory")
        check_integer("max_regions", max_regions, 1)
        if not isinstance(min_confidence, int | float) or not 0 <= min_confidence <= 1:
            raise InputError(f"min_confidence is {min_confidence!r}; it must be in 0..1")
        self.model = model
        self.feature_map = feature_map
        self.max_regions = max_regions
        self.min_confidence = min_confidence
        self.label_map = label_map
        self._network: _Network | None = None
        self._loading = threading.Lock()
        if label_map is not None:
            self.object_names = read_label_map(label_map)
        if feature_map is None:
            candidates = _candidates(_read_model(pathlib.Path(model)).graph)
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
        return self._load().channels

    def _load(self) -> "_Network":
        # Threads that need the first regions at the same time load one model.
        with self._loading:
            if self._network is None:
                model = _read_model(pathlib.Path(self.model))
                feature_map = _feature_map(model, self.model, self.feature_map)
                self._network = _Network(model, feature_map)
            return self._network

    def extract(self, image: np.ndarray) -> Regions:
        network = self._load()
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


@dataclasses.dataclass(frozen=True)
class _Model:
    """A graph of constants and operations.

    Attributes:
        graph: The graph.
        image: The tensor that takes the picture.
        outputs: The tensors of `OUTPUTS`.
    """

    graph: Any
    image: Any
    outputs: dict[str, Any]


class _Network:
    """Runs a model on pictures.

    Args:
        model: The model.
        feature_map: A tensor of its graph.
    """

    def __init__(self, model: _Model, feature_map):
        config = tf.compat.v1.ConfigProto()
        # Optimizing the graph takes seconds, and then it is hardly faster.
        config.graph_options.place_pruned_graph = True
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._session = tf.compat.v1.Session(graph=model.graph, config=config)
        self._image = model.image
        self._fetches = [*(model.outputs[name] for name in OUTPUTS), feature_map]
        self.channels = int(feature_map.shape[-1])
        # The API's name of what keeps the aspect ratio and pads to a square, right and below.
        self._pads = any(
            node.op in ("Pad", "PadV2") and "ResizeToRange/" in node.name
            for node in _nodes(model.graph.as_graph_def())
        )

    def __call__(self, image: np.ndarray):
        """Return boxes [N, 4] (y1 x1 y2 x2), scores [N], classes [N], feature map [1, H, W, C]."""
        sides = self._image.shape[1:3]
        if sides.is_fully_defined():
            height, width = sides
            picture = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            image = np.asarray(picture)
        values = self._session.run(self._fetches, {self._image: image[None]})
        *detections, count, feature_map = (np.asarray(value, np.float32) for value in values)
        boxes, scores, classes = (value[0, : round(float(count.flat[0]))] for value in detections)
        return boxes, scores, classes, feature_map

    def part_with_picture(self, height: int, width: int) -> tuple[float, float]:
        """Return which part of the feature map's height and width is not padding."""
        if not self._pads:
            return 1.0, 1.0
        return height / max(height, width), width / max(height, width)


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


def _read_model(path: pathlib.Path) -> _Model:
    """Load a SavedModel or a frozen graph.

    Raises:
        InputError: The model is damaged, has Python functions, or is not a detector.
    """
    try:
        model = _load_saved_model(path) if path.is_dir() else _load_frozen_graph(path)
    except InputError:
        raise
    except Exception as error:
        # TensorFlow raises nearly everything for damaged or unknown graphs.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: cannot load the model: {reason}") from error
    image = model.image
    if image.dtype not in (tf.uint8, tf.float32) or image.shape.rank != 4:
        raise InputError(
            f"{path}: its input is {image.dtype.name} {image.shape}; export it with the input type "
            "image_tensor or float_image_tensor"
        )
    return model


def _load_saved_model(path: pathlib.Path) -> _Model:
    file = path / "saved_model.pb"
    if not file.exists():
        raise InputError(f"{path}: not a SavedModel; it has no saved_model.pb")
    saved = _parse(file, saved_model_pb2.SavedModel())
    for meta_graph in saved.meta_graphs:
        _check_ops(path, meta_graph.graph_def, _PYTHON_OPS | _FILE_OPS)
    # Until the end of this function, because the signature does not keep its variables.
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        raise InputError(f"{path}: has no signature serving_default")
    # One graph without functions, so that every tensor has a name.
    frozen = convert_variables_to_constants_v2(signature)
    if len(frozen.inputs) != 1:
        raise InputError(
            f"{path}: has {len(frozen.inputs)} inputs; a detector has one, the picture"
        )
    graph_def = frozen.graph.as_graph_def()
    _check_ops(path, graph_def, _REFUSED)
    names = {
        name: tensor.name
        for name, tensor in tf.nest.pack_sequence_as(
            signature.structured_outputs, frozen.outputs
        ).items()
    }
    return _import(path, graph_def, frozen.inputs[0].name, names)


def _load_frozen_graph(path: pathlib.Path) -> _Model:
    graph_def = _parse(path, tf.compat.v1.GraphDef())
    _check_ops(path, graph_def, _REFUSED)
    images = [node.name for node in graph_def.node if node.op == "Placeholder"]
    if len(images) != 1:
        raise InputError(f"{path}: has {len(images)} placeholders; a detector has one, the picture")
    nodes = {node.name for node in graph_def.node}
    return _import(
        path, graph_def, f"{images[0]}:0", {name: f"{name}:0" for name in OUTPUTS if name in nodes}
    )


def _import(path: pathlib.Path, graph_def, image: str, outputs: dict[str, str]) -> _Model:
    """Return the model of a graph and the names of its input and outputs."""
    missing = [name for name in OUTPUTS if name not in outputs]
    if missing:
        raise InputError(
            f"{path}: has no output {', '.join(missing)}; is it a model of the TensorFlow Object "
            "Detection API?"
        )
    with tf.Graph().as_default() as graph:
        tf.compat.v1.import_graph_def(graph_def, name="")
    tensor = graph.get_tensor_by_name
    return _Model(graph, tensor(image), {name: tensor(outputs[name]) for name in OUTPUTS})


def _parse(path: pathlib.Path, message):
    try:
        with warnings.catch_warnings():
            # Some damage is only warned about.
            warnings.simplefilter("error", RuntimeWarning)
            message.ParseFromString(path.read_bytes())
    except (DecodeError, RuntimeWarning) as error:
        raise InputError(f"{path}: not a SavedModel or a frozen graph, or damaged") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    return message


def _nodes(graph_def) -> Iterator[Any]:
    """Yield the nodes of a graph and of its functions."""
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _check_ops(path: pathlib.Path, graph_def, refused: Iterable[str]) -> None:
    for node in _nodes(graph_def):
        if node.op in refused:
            kind = "calls Python code" if node.op in _PYTHON_OPS else "reads or writes files"
            raise InputError(f"{path}: refused, because it {kind} ({node.op} {node.name!r})")


def _feature_map(model: _Model, path: str, name: str | None):
    """Return the tensor with a name.

    Raises:
        InputError: There is none, or it is not a feature map.
    """
    name = str(name)
    try:
        tensor = model.graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: has no feature_map {name!r}, but {_candidates(model.graph)}"
        ) from error
    shape = tensor.shape
    if (
        shape.rank != 4
        or shape[-1] is None
        or shape[0] not in (None, 1)
        or not tensor.dtype.is_floating
    ):
        raise InputError(
            f"{path}: {name!r} is {tensor.dtype.name} {_describe(shape)}, not a feature map "
            f"[1, height, width, channels]; it has {_candidates(model.graph)}"
        )
    return tensor


def _candidates(graph) -> str:
    """Describe feature maps of a graph: the last one of each number of channels."""
    found: dict[int, str] = {}
    for operation in graph.get_operations():
        if operation.type not in _BLOCK_ENDS or "/while/" in operation.name:
            continue
        shape = operation.outputs[0].shape
        if shape.rank == 4 and (shape[-1] or 0) >= _FEWEST_CHANNELS and shape[0] in (None, 1):
            found.pop(shape[-1], None)
            found[shape[-1]] = f"{operation.name} {_describe(shape)}"
    if not found:
        return "none that could be recognized"
    most = sorted(found, reverse=True)[:_MOST_LISTED]
    return ", ".join(found[channels] for channels in found if channels in most)


def _describe(shape) -> str:
    if shape.rank is None:
        return "of unknown shape"
    return f"[{', '.join('?' if side is None else str(side) for side in shape)}]"


def read_label_map(path: str) -> tuple[str, ...]:
    """Read a label map of the Object Detection API.

    Args:
        path: A text file of `item { id: 1 name: "/m/01g317" display_name: "person" }`.

    Returns:
        The names by id, `display_name` if there is one; "background" at 0, "" where ids are unused.

    Raises:
        InputError: The file cannot be read or is not a label map.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}"
        ) from error
    names: dict[int, str] = {}
    for item in _ITEM.finditer(_COMMENT.sub(r"\1", text)):
        fields = dict(_FIELD.findall(_NESTED.sub(r"\1", item[1])))
        name = fields.get("display_name") or fields.get("name")
        number = fields.get("id", "")
        if not name or not number.isdecimal() or not 0 < int(number) <= _LARGEST_ID:
            raise InputError(f"{path}: {' '.join(item[0].split())[:80]} must have an id and a name")
        if int(number) in names:
            raise InputError(f"{path}: the id {number} stands twice")
        names[int(number)] = _unquote(name)
    if not names:
        raise InputError(f'{path}: not a label map; it has no item {{ id: 1 name: "..." }}')
    names[0] = BACKGROUND
    return tuple(names.get(i, "") for i in range(max(names) + 1))


def _unquote(text: str) -> str:
    """Return a string of a protocol buffer in text form without its quotes and escapes."""
    data = (text[1:-1] if text[0] in "\"'" else text).encode()
    data = re.sub(rb"\\([0-3][0-7]{2})", lambda match: bytes([int(match[1], 8)]), data)
    return re.sub(rb"\\(.)", rb"\1", data).decode(errors="replace")
