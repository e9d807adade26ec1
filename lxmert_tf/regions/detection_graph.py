"""Loads and runs the graph of a model of the TensorFlow Object Detection API."""

import dataclasses
import pathlib
import tempfile
import warnings
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from lxmert_tf.errors import InputError, first_line
from lxmert_tf.regions.graph_operations import check_operations, nodes_of, remove_saving

OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")

# What a convolution block ends in, for the list of feature maps.
_BLOCK_ENDS = {"Add", "AddV2", "Elu", "LeakyRelu", "Relu", "Relu6", "Selu"}
_FEWEST_CHANNELS = 32
_MOST_LISTED = 6


@dataclasses.dataclass(frozen=True)
class DetectionModel:
    """A graph of constants and operations.

    Attributes:
        path: The file or directory that it was read from.
        graph: The graph.
        image: The tensor that takes the picture.
        outputs: The tensors of `OUTPUTS`.
        pads: Whether pictures keep their aspect ratio and are padded to a square, right and below.
    """

    path: pathlib.Path
    graph: Any
    image: Any
    outputs: dict[str, Any]
    pads: bool


class DetectionNetwork:
    """Runs a model on pictures.

    Args:
        model: The model.
        feature_map: Name of a tensor of its graph.

    Raises:
        InputError: There is no such tensor, or it is not a feature map.
    """

    def __init__(self, model: DetectionModel, feature_map: str | None):
        config = tf.compat.v1.ConfigProto()
        # Optimizing the graph takes seconds, and then it is hardly faster.
        config.graph_options.place_pruned_graph = True
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._session = tf.compat.v1.Session(graph=model.graph, config=config)
        self._model = model
        tensor = _feature_map(model, feature_map)
        self._fetches = [*(model.outputs[name] for name in OUTPUTS), tensor]
        self.channels = int(tensor.shape[-1])

    def __call__(self, image: np.ndarray):
        """Detect objects.

        Args:
            image: uint8 [height, width, 3], RGB.

        Returns:
            Boxes [N, 4] (y1 x1 y2 x2), scores [N], classes [N], feature map [1, H, W, C].

        Raises:
            InputError: The graph fails, or its outputs are not those of a detector.
        """
        sides = self._model.image.shape[1:3]
        if sides.is_fully_defined():
            height, width = sides
            picture = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            image = np.asarray(picture)
        try:
            values = self._session.run(self._fetches, {self._model.image: image[None]})
        except (tf.errors.OpError, ValueError) as error:
            raise InputError(f"{self._model.path}: {_cause(error)}") from error
        boxes, scores, classes, count, feature_map = (np.asarray(x, np.float32) for x in values)
        self._check_outputs(boxes, scores, classes, count, feature_map)
        found = slice(round(float(count.item())))
        return boxes[0, found], scores[0, found], classes[0, found], feature_map

    def _check_outputs(self, boxes, scores, classes, count, feature_map) -> None:
        if boxes.ndim != 3 or len(boxes) != 1 or boxes.shape[2] != 4:
            wrong = f"detection_boxes are {list(boxes.shape)}, not [1, N, 4]"
        elif scores.shape != boxes.shape[:2] or classes.shape != boxes.shape[:2]:
            wrong = "detection_boxes, detection_scores and detection_classes differ in number"
        elif count.size != 1 or not 0 <= count.item() <= boxes.shape[1]:
            wrong = f"num_detections is {count.tolist()}, not in 0..{boxes.shape[1]}"
        elif feature_map.size == 0 or len(feature_map) != 1:
            wrong = (
                f"the feature map is {list(feature_map.shape)}, not [1, height, width, channels]"
            )
        else:
            return
        raise InputError(f"{self._model.path}: {wrong}")

    def part_with_picture(self, height: int, width: int) -> tuple[float, float]:
        """Return which part of the feature map's height and width is not padding."""
        if not self._model.pads:
            return 1.0, 1.0
        # A graph of fixed size sees the picture in that size, and pads only that.
        sides = self._model.image.shape[1:3]
        if sides.is_fully_defined():
            height, width = sides
        return height / max(height, width), width / max(height, width)


def _cause(error: Exception) -> str:
    # TensorFlow says first where the graph was made, then the node, and on the next line the cause.
    _, _, cause = str(error).rpartition("\nNode: ")
    return " ".join(cause.strip().splitlines()[:2]) or type(error).__name__


def read_model(path: pathlib.Path) -> DetectionModel:
    """Load a SavedModel or a frozen graph.

    Raises:
        InputError: The model is damaged, does more than compute, or is not a detector.
    """
    try:
        model = _load_saved_model(path) if path.is_dir() else _load_frozen_graph(path)
    except InputError:
        raise
    except Exception as error:
        # TensorFlow raises nearly everything for damaged or unknown graphs.
        raise InputError(f"{path}: cannot load the model: {first_line(error)}") from error
    image = model.image
    if image.dtype not in (tf.uint8, tf.float32) or image.shape.rank != 4:
        raise InputError(
            f"{path}: its input is {image.dtype.name} {image.shape}; export it with the input type "
            "image_tensor or float_image_tensor"
        )
    return model


def _load_saved_model(path: pathlib.Path) -> DetectionModel:
    file = path / "saved_model.pb"
    if not file.exists():
        raise InputError(f"{path}: not a SavedModel; it has no saved_model.pb")
    saved = _parse(file, saved_model_pb2.SavedModel())
    for meta_graph in saved.meta_graphs:
        remove_saving(meta_graph.graph_def)
        check_operations(path, meta_graph.graph_def, reads_checkpoints=True)
    # Keep a reference: the signature alone does not keep its variables alive.
    loaded = _load(saved, path)
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
    check_operations(path, graph_def)
    names = {
        name: tensor.name
        for name, tensor in tf.nest.pack_sequence_as(
            signature.structured_outputs, frozen.outputs
        ).items()
    }
    return _import(path, graph_def, frozen.inputs[0].name, names)


def _load(saved, path: pathlib.Path):
    """Load a SavedModel of which only the graphs were changed."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("assets", "variables"):
            if (path / part).exists():
                pathlib.Path(folder, part).symlink_to((path / part).resolve())
        pathlib.Path(folder, "saved_model.pb").write_bytes(saved.SerializeToString())
        try:
            return tf.saved_model.load(folder)
        except Exception as error:
            # TensorFlow raises nearly everything here, too.
            reason = first_line(error, lambda line: line.replace(folder, str(path)))
            raise InputError(f"{path}: cannot load the model: {reason}") from error


def _load_frozen_graph(path: pathlib.Path) -> DetectionModel:
    graph_def = _parse(path, tf.compat.v1.GraphDef())
    check_operations(path, graph_def)
    images = [node.name for node in graph_def.node if node.op == "Placeholder"]
    if len(images) != 1:
        raise InputError(f"{path}: has {len(images)} placeholders; a detector has one, the picture")
    nodes = {node.name for node in graph_def.node}
    return _import(
        path, graph_def, f"{images[0]}:0", {name: f"{name}:0" for name in OUTPUTS if name in nodes}
    )


def _import(path: pathlib.Path, graph_def, image: str, outputs: dict[str, str]) -> DetectionModel:
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
    # The API's name for the resizer that keeps the aspect ratio and pads.
    pads = any(
        node.op in ("Pad", "PadV2") and "ResizeToRange/" in node.name
        for node in nodes_of(graph_def)
    )
    return DetectionModel(
        path, graph, tensor(image), {name: tensor(outputs[name]) for name in OUTPUTS}, pads
    )


def _parse(path: pathlib.Path, message):
    try:
        with warnings.catch_warnings():
            # Some damage is only warned about. The filter is the whole process's for this moment.
            warnings.simplefilter("error", RuntimeWarning)
            message.ParseFromString(path.read_bytes())
    except (DecodeError, RuntimeWarning) as error:
        raise InputError(f"{path}: not a SavedModel or a frozen graph, or damaged") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    return message


def _feature_map(model: DetectionModel, name: str | None):
    """Return the tensor with a name.

    Raises:
        InputError: There is none, or it is not a feature map.
    """
    name = str(name)
    try:
        tensor = model.graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{model.path}: has no feature_map {name!r}, but {describe_feature_maps(model.graph)}"
        ) from error
    shape = tensor.shape
    if (
        shape.rank != 4
        or shape[-1] is None
        or shape[0] not in (None, 1)
        or not tensor.dtype.is_floating
    ):
        raise InputError(
            f"{model.path}: {name!r} is {tensor.dtype.name} {_describe(shape)}, not a feature map "
            f"[1, height, width, channels]; it has {describe_feature_maps(model.graph)}"
        )
    return tensor


def describe_feature_maps(graph) -> str:
    """Describe the feature maps of a graph: the last one of each number of channels."""
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
