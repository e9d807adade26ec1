"""The layers of bottom-up-attention's caffemodel as tensors of the published names.

Caffe keeps the background first, has two outputs per anchor, orders anchors differently, and stores
box deltas already divided.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lxmert_tf.config_file import config_from_mapping
from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.detector.boxes import caffe_anchors
from lxmert_tf.detector.config import DetectorConfig
from lxmert_tf.detector.selection import BOX_WEIGHTS
from lxmert_tf.detector.weight_names import ANCHORS
from lxmert_tf.errors import InputError

_STEM = {"conv1": "res", "bn_conv1": "bn", "scale_conv1": "scale"}
# The blocks of a stage are a, b, c, or where they are many a, b1, b2.
_BLOCK = re.compile(r"(res|bn|scale)([2-5])([a-z])(\d*)_branch(1|2[abc])")
_PARTS = {"1": "shortcut", "2a": "conv1", "2b": "conv2", "2c": "conv3"}
_RPN, _PREDICTOR = "proposal_generator.rpn_head", "roi_heads.box_predictor"


@dataclasses.dataclass(frozen=True)
class _Head:
    """A layer outside the residual blocks.

    Args:
        name: Published name.
        rank: Rank of the kernel.
        outputs: Number of outputs that the layer must have; None if any will do.
        convert: Function of the kernel or the biases, with outputs on the first axis.
    """

    name: str
    rank: int
    outputs: int | None = None
    convert: Callable[[np.ndarray], np.ndarray] = np.asarray


def published_tensors(
    layers: Mapping[str, Sequence[StoredTensor]], fields: Mapping[str, Any], where: str
) -> dict[str, StoredTensor]:
    """Return the tensors of a caffemodel by their published names, with the anchors it has.

    Blobs that belong to no tensor are named by layer and number, such as "fc6 blob 0".

    Args:
        layers: Blobs by layer.
        fields: Fields of the `DetectorConfig`, of which the anchors are used.
        where: Name of the checkpoint, for messages.

    Raises:
        InputError: A layer has another number of outputs than the anchors need.
    """
    anchors = ("anchor_sizes", "anchor_ratios")
    known = {name: fields[name] for name in anchors if name in fields}
    config = config_from_mapping(DetectorConfig, known, where)
    heads = _heads(config)
    # A box that includes its last pixel ends there one pixel earlier.
    own = caffe_anchors(config.anchor_sizes, config.anchor_ratios)
    own += np.array([0, 0, 1, 1], np.float32)
    tensors = {ANCHORS: StoredTensor(own.shape, lambda: own)}
    for layer, blobs in layers.items():
        converted: Iterator[tuple[str, StoredTensor]] = iter(())
        if layer in heads:
            converted = _convert_head(heads[layer], layer, blobs, where)
        elif (place := _place(layer)) is not None:
            converted = _convert_part(*place, blobs)
        used = dict(converted)
        tensors.update(used)
        # Batch normalization has three blobs and two tensors, so its third blob is never unused.
        for i in range(3 if layer.startswith("bn") and used else len(used), len(blobs)):
            tensors[f"{layer} blob {i}"] = blobs[i]
    return tensors


def _place(layer: str) -> tuple[str, str] | None:
    """Return the kind of a layer of the backbone or res5, and its published name."""
    if layer in _STEM:
        return _STEM[layer], "backbone.stem.conv1"
    match = _BLOCK.fullmatch(layer)
    if match is None:
        return None
    kind, stage, letter, number, branch = match.groups()
    block = int(number) if number else ord(letter) - ord("a")
    network = "roi_heads" if stage == "5" else "backbone"
    return kind, f"{network}.res{stage}.{block}.{_PARTS[branch]}"


def _convert_part(
    kind: str, name: str, blobs: Sequence[StoredTensor]
) -> Iterator[tuple[str, StoredTensor]]:
    if kind == "res":
        yield f"{name}.weight", blobs[0]
        return
    vectors = [_without_leading_ones(blob, 1) for blob in blobs]
    if kind == "scale":
        for part, vector in zip(("weight", "bias"), vectors):
            yield f"{name}.norm.{part}", vector
        return
    if len(vectors) < 3:
        return
    for part, vector in zip(("running_mean", "running_var"), vectors):
        read = functools.partial(_divide, vector, vectors[2])
        yield f"{name}.norm.{part}", StoredTensor(vector.shape, read)


def _divide(values: StoredTensor, count: StoredTensor) -> np.ndarray:
    """Return sums divided by their number, or zeros if it is zero, as in caffe."""
    divisor = count.read().sum()
    return values.read() / divisor if divisor else np.zeros(values.shape, np.float32)


def _convert_head(
    head: _Head, layer: str, blobs: Sequence[StoredTensor], where: str
) -> Iterator[tuple[str, StoredTensor]]:
    for part, rank, blob in zip(("weight", "bias"), (head.rank, 1), blobs):
        blob = _without_leading_ones(blob, rank)
        outputs = blob.shape[0] if blob.shape else 0
        if head.outputs not in (None, outputs):
            raise InputError(
                f"{where}: the layer {layer!r} has {outputs} outputs; the anchors need "
                f"{head.outputs}"
            )
        rows = len(head.convert(np.zeros([outputs, 1], np.float32)))
        read = functools.partial(_read_converted, blob, head.convert)
        yield f"{head.name}.{part}", StoredTensor((rows, *blob.shape[1:]), read)


def _read_converted(blob: StoredTensor, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return convert(blob.read())


def _heads(config: DetectorConfig) -> dict[str, _Head]:
    # For each of our anchors, the index of caffe's, which loops over ratios first.
    sizes, ratios = len(config.anchor_sizes), len(config.anchor_ratios)
    order = np.arange(sizes * ratios).reshape(ratios, sizes).T.ravel()

    def objectness(values):
        background, foreground = np.split(values, 2)
        return (foreground - background)[order]

    def anchor_deltas(values):
        by_anchor = values.reshape(len(order), 4, *values.shape[1:])
        return by_anchor[order].reshape(values.shape)

    anchors = len(order)
    return {
        "rpn_conv/3x3": _Head(f"{_RPN}.conv", 4),
        "rpn_cls_score": _Head(f"{_RPN}.objectness_logits", 4, 2 * anchors, objectness),
        "rpn_bbox_pred": _Head(f"{_RPN}.anchor_deltas", 4, 4 * anchors, anchor_deltas),
        "cls_score": _Head(f"{_PREDICTOR}.cls_score", 2, None, _background_last),
        "bbox_pred": _Head(f"{_PREDICTOR}.bbox_pred", 2, None, _box_deltas),
        "cls_embedding": _Head(f"{_PREDICTOR}.cls_embedding", 2, None, _background_last),
        "fc_attr": _Head(f"{_PREDICTOR}.fc_attr", 2),
        "attr_score": _Head(f"{_PREDICTOR}.attr_score", 2, None, _background_last),
    }


def _background_last(values: np.ndarray) -> np.ndarray:
    return np.roll(values, -1, axis=0)


def _box_deltas(values: np.ndarray) -> np.ndarray:
    """Return rows without the background's, multiplied by what the flavor "hf" divides by."""
    rows = values[4:]
    weights = np.resize(np.array(BOX_WEIGHTS, np.float32), len(rows))
    return rows * weights.reshape(-1, *[1] * (values.ndim - 1))


def _without_leading_ones(blob: StoredTensor, rank: int) -> StoredTensor:
    """Return a blob without the leading axes of length 1 that pad shapes to four in older files."""
    shape = blob.shape
    while len(shape) > rank and shape[0] == 1:
        shape = shape[1:]
    return StoredTensor(shape, lambda: blob.read().reshape(shape))
