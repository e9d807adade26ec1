"""Sizes and rules of the detector; the defaults are those of the published one."""

import dataclasses
import json
from typing import Annotated, Any, Literal

import pydantic

from lxmert_tf.config_file import check_fields, config_from_mapping, load_config
from lxmert_tf.errors import InputError

Flavor = Literal["hf", "caffe"]

Count = Annotated[int, pydantic.Field(ge=1)]
Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]


@dataclasses.dataclass(frozen=True)
class HfRules:
    """Rules of the flavor "hf", the detector in transformers' research projects.

    Args:
        shorter_side: Length to which the shorter side of a picture is resized, in pixels.
        longest_side: Most pixels of the longer side, which then decides.
        nms_thresholds: Overlaps above which the less probable of two boxes is dropped. They are
            tried in turn until `min_regions` boxes are left.
    """

    shorter_side: Count = 800
    longest_side: Count = 1333
    nms_thresholds: Annotated[tuple[Share, ...], pydantic.Field(min_length=1)] = (0.5, 0.6, 0.7)


@dataclasses.dataclass(frozen=True)
class CaffeRules:
    """Rules of the flavor "caffe", the extraction that made the published region files.

    Args:
        shorter_side: Length to which the shorter side of a picture is resized, in pixels.
        longest_side: Most pixels of the longer side, which then decides.
        smallest_proposal: Least width and height of a proposal, in pixels of the original picture.
        nms_threshold: Overlap from which the less probable of two boxes of a class is dropped.
        min_confidence: Least confidence of a region, unless fewer than `min_regions` have it.
    """

    shorter_side: Count = 600
    longest_side: Count = 1000
    smallest_proposal: Annotated[int, pydantic.Field(ge=0)] = 16
    nms_threshold: Share = 0.3
    min_confidence: Share = 0.2


@dataclasses.dataclass(frozen=True)
class DetectorConfig:
    """Sizes and rules of a Faster R-CNN with a ResNet C4 (Anderson et al. 2018, section 3.1).

    Args:
        flavor: Rules by which pictures are resized, and proposals and regions chosen.
        stem_channels: Channels after the first convolution.
        bottleneck_channels: Inner channels of the blocks of res2; each later stage doubles them.
        stage_channels: Channels after res2; each later stage doubles them. The last ones are the
            region features.
        blocks: Numbers of blocks in res2, res3, res4 and res5.
        batch_norm_epsilon: Added to the variances of all batch normalizations.
        proposal_channels: Channels of the region proposal network.
        anchor_sizes: Sides of square anchors, in pixels of the resized picture.
        anchor_ratios: Heights of anchors divided by their widths.
        proposals_before_nms: Most proposals that are compared with each other.
        max_proposals: Most proposals that are classified.
        proposal_nms_threshold: Overlap above which the less probable of two proposals is dropped.
        num_objects: Object classes, without the background.
        num_attributes: Attribute classes, without "no attribute".
        class_embedding_size: Width of the embedding of the class that attributes depend on.
        attribute_hidden_size: Width of the layer before the attributes.
        min_regions: Fewest regions of a picture, if there are as many proposals.
        max_regions: Most regions of a picture.
        pixel_means: Means of blue, green and red, which are subtracted from pictures.
        hf: Rules of the flavor "hf".
        caffe: Rules of the flavor "caffe".

    Raises:
        InputError: A value is out of range.

    Example:
        config = DetectorConfig(flavor="caffe", min_regions=10, max_regions=100)
    """

    flavor: Flavor = "hf"
    stem_channels: Count = 64
    bottleneck_channels: Count = 64
    stage_channels: Count = 256
    blocks: tuple[Count, Count, Count, Count] = (3, 4, 23, 3)
    batch_norm_epsilon: Positive = 1e-5
    proposal_channels: Count = 512
    anchor_sizes: Annotated[tuple[Positive, ...], pydantic.Field(min_length=1)] = (
        64,
        128,
        256,
        512,
    )
    anchor_ratios: Annotated[tuple[Positive, ...], pydantic.Field(min_length=1)] = (0.5, 1.0, 2.0)
    proposals_before_nms: Count = 6000
    max_proposals: Count = 300
    proposal_nms_threshold: Share = 0.7
    num_objects: Count = 1600
    num_attributes: Count = 400
    class_embedding_size: Count = 256
    attribute_hidden_size: Count = 512
    min_regions: Count = 36
    max_regions: Count = 36
    pixel_means: tuple[float, float, float] = (102.9801, 115.9465, 122.7717)
    hf: HfRules = dataclasses.field(default_factory=HfRules)
    caffe: CaffeRules = dataclasses.field(default_factory=CaffeRules)

    def __post_init__(self):
        check_fields(self)
        if self.min_regions > self.max_regions:
            raise InputError(
                f"min_regions is {self.min_regions}; it must be at most max_regions, "
                f"{self.max_regions}"
            )

    @property
    def rules(self) -> HfRules | CaffeRules:
        """The rules of the flavor."""
        return self.hf if self.flavor == "hf" else self.caffe

    @property
    def num_anchors(self) -> int:
        """Anchors at each place of the feature map."""
        return len(self.anchor_sizes) * len(self.anchor_ratios)

    @property
    def feature_size(self) -> int:
        """Width F of a region's feature vector."""
        return 8 * self.stage_channels

    @classmethod
    def from_file(cls, path) -> "DetectorConfig":
        """Read a YAML or JSON file with these fields; those that are left out are as published."""
        return load_config(cls, path)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DetectorConfig":
        """Return the config with these fields; the inverse of `to_dict`."""
        return config_from_mapping(cls, values, "detector config")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict that JSON can hold."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def to_json(self) -> str:
        """Return the text of a preset's config.json."""
        return json.dumps(self.to_dict(), indent=1) + "\n"
