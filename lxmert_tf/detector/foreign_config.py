"""Configs of the published detector for ours, and the sizes that follow from its tensors."""

import re
from collections.abc import Mapping
from typing import Any

from lxmert_tf.config_file import config_from_mapping
from lxmert_tf.converters.formats import StoredTensor
from lxmert_tf.detector.config import DetectorConfig, HfRules
from lxmert_tf.errors import InputError

# Paths of our fields, and of the values in config.yaml of unc-nlp/frcnn-vg-finetuned.
_HF_FIELDS = {
    "anchor_sizes": "anchor_generator.sizes.0",
    "anchor_ratios": "anchor_generator.aspect_ratios.0",
    "proposals_before_nms": "rpn.pre_nms_topk_test",
    "max_proposals": "rpn.post_nms_topk_test",
    "proposal_nms_threshold": "rpn.nms_thresh",
    "min_regions": "min_detections",
    "max_regions": "max_detections",
    "pixel_means": "model.pixel_mean",
    "hf.shorter_side": "input.min_size_test",
    "hf.longest_side": "input.max_size_test",
    "hf.nms_thresholds": "roi_heads.nms_thresh_test",
    "caffe.min_confidence": "roi_heads.score_thresh_test",
}
# The same for the settings of bottom-up-attention and of LXMERT's extraction.
_CAFFE_FIELDS = {
    "anchor_ratios": "anchors.ratios",
    "proposals_before_nms": "test.rpn_pre_nms_top_n",
    "max_proposals": "test.rpn_post_nms_top_n",
    "proposal_nms_threshold": "test.rpn_nms_thresh",
    "min_regions": "extract.min_boxes",
    "max_regions": "extract.max_boxes",
    "pixel_means": "pixel_means_bgr",
    "caffe.shorter_side": "test.scale",
    "caffe.longest_side": "test.max_size",
    "caffe.smallest_proposal": "test.rpn_min_size",
    "caffe.nms_threshold": "test.nms",
    "caffe.min_confidence": "extract.conf_thresh",
}
# Tensors whose first or second axis is a size.
_SIZES = {
    "stem_channels": ("backbone.stem.conv1.weight", 0),
    "bottleneck_channels": ("backbone.res2.0.conv1.weight", 0),
    "stage_channels": ("backbone.res2.0.conv3.weight", 0),
    "proposal_channels": ("proposal_generator.rpn_head.conv.weight", 0),
    "class_embedding_size": ("roi_heads.box_predictor.cls_embedding.weight", 1),
    "attribute_hidden_size": ("roi_heads.box_predictor.fc_attr.weight", 0),
}
# The same, with one more row for the background.
_CLASSES = {
    "num_objects": "roi_heads.box_predictor.cls_score.weight",
    "num_attributes": "roi_heads.box_predictor.attr_score.weight",
}


def foreign_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `DetectorConfig` that a config of another project, or ours, gives.

    A config of Hugging Face's research project does not say to which size the flavor "caffe"
    resizes pictures. It is as published if the size of the flavor "hf" is, else the same as that.

    Args:
        values: Contents of the file.
    """
    if "roi_heads" in values:
        fields = _fields(values, _HF_FIELDS)
        published = HfRules()
        for side in ("shorter_side", "longest_side"):
            size = fields.get("hf", {}).get(side, getattr(published, side))
            if size != getattr(published, side):
                fields.setdefault("caffe", {})[side] = size
        return fields
    if "extract" in values:
        fields = {"flavor": "caffe", **_fields(values, _CAFFE_FIELDS)}
        scales = _value(values, "anchors.scales")
        if isinstance(scales, list) and all(isinstance(scale, int | float) for scale in scales):
            fields["anchor_sizes"] = [16 * scale for scale in scales]
        return fields
    return dict(values)


def config_of_tensors(
    tensors: Mapping[str, StoredTensor], fields: dict[str, Any], where: str
) -> DetectorConfig:
    """Return a config with the sizes of a checkpoint.

    Args:
        tensors: Tensors by the published names.
        fields: Other fields; those that are left out are as published.
        where: Name of the config or checkpoint, for messages.

    Raises:
        InputError: The tensors are not those of the detector, or a field is invalid.
    """
    for name, rank in (("backbone.stem.conv1.weight", 4), (_CLASSES["num_objects"], 2)):
        if name not in tensors or len(tensors[name].shape) != rank:
            raise InputError(f"{where}: not a checkpoint of the detector; it lacks {name}")
    sizes: dict[str, Any] = {}
    for field, (name, axis) in _SIZES.items():
        if name in tensors and len(tensors[name].shape) > axis:
            sizes[field] = tensors[name].shape[axis]
    for field, name in _CLASSES.items():
        if name in tensors and tensors[name].shape:
            sizes[field] = tensors[name].shape[0] - 1
    stages = ("backbone.res2", "backbone.res3", "backbone.res4", "roi_heads.res5")
    blocks = [_count_blocks(tensors, stage) for stage in stages]
    return config_from_mapping(DetectorConfig, {**fields, **sizes, "blocks": blocks}, where)


def _fields(values: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for path, theirs in paths.items():
        value = _value(values, theirs)
        if value is None:
            continue
        rules, _, field = path.rpartition(".")
        (fields.setdefault(rules, {}) if rules else fields)[field] = value
    return fields


def _value(values: Any, path: str) -> Any:
    """Return the value at a path such as "sizes.0", or None."""
    for part in path.split("."):
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values


def _count_blocks(tensors: Mapping[str, StoredTensor], stage: str) -> int:
    pattern = re.compile(rf"{re.escape(stage)}\.(\d+)\.")
    return len({match[1] for name in tensors if (match := pattern.match(name))})
