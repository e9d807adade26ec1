"""Writes caffemodels as caffe does, from tensors of the published names."""

import re

import numpy as np

_PARTS = {"shortcut": "1", "conv1": "2a", "conv2": "2b", "conv3": "2c"}
_BOX_WEIGHTS = np.float32([10, 10, 5, 5])
# The factor that caffe keeps with the sums of batch normalization.
_FACTOR = 4.0


def caffe_layers(tensors, sizes=4, ratios=3) -> dict[str, list[np.ndarray]]:
    """Return the blobs of caffe's layers, by layer, for tensors of the published names.

    Args:
        tensors: Arrays by name; counters and anchors are left out.
        sizes: Number of sizes of anchors.
        ratios: Number of ratios of anchors.
    """
    layers: dict[str, list[np.ndarray]] = {}
    # In caffe the ratios are outside.
    order = np.arange(sizes * ratios).reshape(sizes, ratios).T.ravel()
    # Weights come before biases.
    for name in sorted(tensors, reverse=True):
        value = np.asarray(tensors[name])
        if match := re.fullmatch(r"(.*)\.(conv\d|shortcut)\.weight", name):
            kernel, norm, scale = _names(match[1], match[2])
            layers[kernel] = [value]
            sums = [tensors[f"{name[:-7]}.norm.{part}"] for part in ("running_mean", "running_var")]
            layers[norm] = [*(_FACTOR * total for total in sums), np.float32([_FACTOR])]
            layers[scale] = [tensors[f"{name[:-7]}.norm.{part}"] for part in ("weight", "bias")]
        elif "norm" not in name and "anchor_generator" not in name:
            layer, blob = _head(name.split(".")[-2], value, order)
            layers.setdefault(layer, []).append(blob)
    return layers


def encode_network(layers, form="layer", double=False, legacy=False) -> bytes:
    """Return a network with weights.

    Args:
        layers: Blobs by layer.
        form: The field that holds a layer, "layer" or, as in older files, "layers".
        double: Whether values are float64.
        legacy: Whether shapes are four numbers.
    """
    network = _text(1, "ResNet-101")
    for name, blobs in layers.items():
        content = b"".join(
            _bytes(7 if form == "layer" else 6, _blob(blob, double, legacy)) for blob in blobs
        )
        if form == "layer":
            network += _bytes(100, _text(1, name) + _text(2, "Layer") + content)
        else:
            network += _bytes(2, _text(4, name) + _number(5, 4) + content)
    return network


def _names(prefix: str, part: str) -> tuple[str, str, str]:
    if prefix == "backbone.stem":
        return "conv1", "bn_conv1", "scale_conv1"
    stage, block = re.fullmatch(r".*\.res(\d)\.(\d+)", prefix).groups()
    letters = "abc"[int(block)] if stage in "25" else f"b{block}" if int(block) else "a"
    place = f"{stage}{letters}_branch{_PARTS[part]}"
    return f"res{place}", f"bn{place}", f"scale{place}"


def _head(layer: str, value: np.ndarray, order: np.ndarray) -> tuple[str, np.ndarray]:
    if layer == "objectness_logits":
        background = np.linspace(-1, 1, value.size, dtype=np.float32).reshape(value.shape)
        return "rpn_cls_score", np.concatenate([background, value[order] + background])
    if layer == "anchor_deltas":
        by_anchor = value.reshape(len(order), 4, *value.shape[1:])
        return "rpn_bbox_pred", by_anchor[order].reshape(value.shape)
    if layer == "bbox_pred":
        by_class = value.reshape(-1, 4, *value.shape[1:])
        by_class = by_class / _BOX_WEIGHTS.reshape(4, *[1] * (value.ndim - 1))
        background = np.full_like(value[:4], 9)
        return layer, np.concatenate([background, by_class.reshape(value.shape)])
    if layer in ("cls_score", "cls_embedding", "attr_score"):
        return layer, np.roll(value, 1, axis=0)
    return ("rpn_conv/3x3" if layer == "conv" else layer), value


def _blob(value: np.ndarray, double: bool, legacy: bool) -> bytes:
    value = np.asarray(value)
    values = _bytes(8 if double else 5, value.astype("<f8" if double else "<f4").tobytes())
    if legacy:
        shape = [1] * (4 - value.ndim) + list(value.shape)
        return b"".join(_number(i + 1, length) for i, length in enumerate(shape)) + values
    return values + _bytes(7, _bytes(1, b"".join(map(_varint, value.shape))))


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
