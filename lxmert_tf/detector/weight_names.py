"""Names of the published detector's tensors for the variables of ours.

The names are those of detectron2 and of Hugging Face's research project. PyTorch stores the kernel
of a convolution as [out, in, height, width] and that of a dense layer as [out, in].
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from tensorflow import keras

from lxmert_tf.converters.weight_names import NamedVariable
from lxmert_tf.detector.backbone import Bottleneck, ConvNorm, Stem

ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"

_NORM = {
    "gamma": "norm.weight",
    "beta": "norm.bias",
    "moving_mean": "norm.running_mean",
    "moving_variance": "norm.running_var",
}
_PROPOSAL_HEAD = {"conv": "conv", "logits": "objectness_logits", "deltas": "anchor_deltas"}
_CLASSIFIER = {
    "objects": "cls_score",
    "box_deltas": "bbox_pred",
    "class_embedding": "cls_embedding",
    "attribute_hidden": "fc_attr",
    "attributes": "attr_score",
}


@dataclasses.dataclass(frozen=True)
class ConvKernel(NamedVariable):
    """The kernel of a convolution, [height, width, in, out] in ours."""

    def join(self, tensors: dict[str, np.ndarray]) -> np.ndarray:
        """Return the value of our variable from the published tensor, given by name."""
        return tensors[self.names[0]].transpose(2, 3, 1, 0)

    def split(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """Return the published tensor by name from the value of our variable."""
        return {self.names[0]: value.transpose(3, 2, 0, 1)}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of the published tensor by name."""
        height, width, inputs, outputs = self.variable.shape.as_list()
        return {self.names[0]: (outputs, inputs, height, width)}


def detector_variables(detector) -> Iterator[NamedVariable]:
    """Yield the variables of a `Detector`, in the order of the network."""
    for layer in detector.layers:
        if isinstance(layer, Stem):
            yield from _conv_norm(layer.conv1, "backbone.stem.conv1")
        elif isinstance(layer, Bottleneck):
            yield from _block(layer, f"backbone.{layer.name.replace('_', '.')}")
    proposal_head = detector.get_layer("proposal_head")
    for attribute, name in _PROPOSAL_HEAD.items():
        name = f"proposal_generator.rpn_head.{name}"
        yield from _kernel_and_bias(getattr(proposal_head, attribute), name)
    yield NamedVariable(detector.get_layer("proposal_selection").hf_anchors, (ANCHORS,))
    for i, block in enumerate(detector.get_layer("region_features").blocks):
        yield from _block(block, f"roi_heads.res5.{i}")
    classifier = detector.get_layer("region_classifier")
    for attribute, name in _CLASSIFIER.items():
        yield from _kernel_and_bias(
            getattr(classifier, attribute), f"roi_heads.box_predictor.{name}"
        )


def _block(block: Bottleneck, name: str) -> Iterator[NamedVariable]:
    for part in ("shortcut", "conv1", "conv2", "conv3"):
        layer = getattr(block, part)
        if layer is not None:
            yield from _conv_norm(layer, f"{name}.{part}")


def _conv_norm(layer: ConvNorm, name: str) -> Iterator[NamedVariable]:
    yield ConvKernel(layer.kernel, (f"{name}.weight",))
    for attribute, part in _NORM.items():
        yield NamedVariable(getattr(layer, attribute), (f"{name}.{part}",))


def _kernel_and_bias(layer, name: str) -> Iterator[NamedVariable]:
    if hasattr(layer, "embeddings"):
        yield NamedVariable(layer.embeddings, (f"{name}.weight",))
        return
    if isinstance(layer, keras.layers.Conv2D):
        yield ConvKernel(layer.kernel, (f"{name}.weight",))
    else:
        yield NamedVariable(layer.kernel, (f"{name}.weight",), transposed=True)
    yield NamedVariable(layer.bias, (f"{name}.bias",))
