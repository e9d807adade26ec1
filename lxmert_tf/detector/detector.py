"""The detector: a Faster R-CNN with a ResNet C4, on Visual Genome's objects and attributes."""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow import keras

from lxmert_tf.detector.backbone import Bottleneck, MapSizes, Stem
from lxmert_tf.detector.boxes import relative_boxes
from lxmert_tf.detector.config import DetectorConfig, Flavor
from lxmert_tf.detector.heads import RegionClassifier, RegionFeatures
from lxmert_tf.detector.image_preparation import prepare_images
from lxmert_tf.detector.presets import load_weights, read_arguments, write_preset
from lxmert_tf.detector.proposals import ProposalHead, ProposalSelection
from lxmert_tf.detector.selection import CaffeSelection, HfSelection
from lxmert_tf.errors import InputError
from lxmert_tf.models.presets import check_lines
from lxmert_tf.regions.extractor import Regions


@keras.utils.register_keras_serializable("lxmert_tf")
class Detector(keras.Model):
    """The detector of "Bottom-Up and Top-Down Attention" (Anderson et al. 2018, arXiv 1707.07998).

    Its outputs are the region features that LXMERT was trained on: the published ones with the
    flavor "caffe", those of transformers' research projects with the flavor "hf". A picture gives
    the same regions alone and in a batch.

    Args:
        config: Sizes and rules; the published ones if None.
        flavor: Rules to use instead of the config's, "hf" or "caffe".
        object_names: Names of the objects, in the order of their ids.
        attribute_names: Names of the attributes, in the order of their ids.
        dtype: Dtype policy of the convolutions and dense layers, such as "mixed_bfloat16". Boxes
            and probabilities are always float32.
        **kwargs: `name` and `trainable` of the model.

    Call arguments, a dict:
        images: float32 [B, H, W, 3], BGR without the means, padded right and below.
        image_sizes: int32 [B, 2], height and width of each picture without padding.
        scales: float32 [B, 2], pixels of these pictures per pixel of the original, y and x.

    Returns:
        A dict of `features` float32 [B, R, F], `boxes` float32 [B, R, 4] (x1, y1, x2, y2 in pixels
        of the original), `object_ids` and `attribute_ids` int32 [B, R], `object_confidences` and
        `attribute_confidences` float32 [B, R], and `region_count` int32 [B]. R is
        `config.max_regions`; absent regions are zeros.

    Raises:
        InputError: There is no such flavor, a field of `config` is invalid, or a name has a line
            break.
        ValueError: There are more or fewer names than the config says.

    Example:
        config = DetectorConfig(bottleneck_channels=8, stage_channels=32, blocks=(1, 2, 2, 3))
        detector = Detector(config)
        regions = detector.detect([read_image("photo.jpg")])
    """

    def __init__(
        self,
        config: DetectorConfig | dict | None = None,
        flavor: Flavor | None = None,
        object_names: Sequence[str] | None = None,
        attribute_names: Sequence[str] | None = None,
        dtype=None,
        **kwargs,
    ):
        if config is None:
            config = DetectorConfig()
        elif isinstance(config, dict):
            config = DetectorConfig.from_dict(config)
        if flavor is not None:
            config = dataclasses.replace(config, flavor=flavor)
        check_lines("object_names", object_names, "num_objects", config.num_objects)
        check_lines("attribute_names", attribute_names, "num_attributes", config.num_attributes)
        policy = keras.mixed_precision.global_policy() if dtype is None else dtype
        if isinstance(policy, str):
            policy = keras.mixed_precision.Policy(policy)
        inputs = {
            "images": keras.Input([None, None, 3], dtype=tf.float32, name="images"),
            "image_sizes": keras.Input([2], dtype=tf.int32, name="image_sizes"),
            "scales": keras.Input([2], dtype=tf.float32, name="scales"),
        }
        maps, map_sizes = _backbone(inputs, config, policy)
        proposals, counts = _proposals(maps, map_sizes, inputs, config, policy)
        width = 8 * config.bottleneck_channels
        features = RegionFeatures(
            width,
            config.feature_size,
            config.blocks[3],
            epsilon=config.batch_norm_epsilon,
            dtype=policy,
            name="region_features",
        )(maps, map_sizes, proposals, counts)
        logits = RegionClassifier(
            config.num_objects,
            config.num_attributes,
            config.class_embedding_size,
            config.attribute_hidden_size,
            dtype=policy,
            name="region_classifier",
        )(features)
        outputs = _selection(proposals, counts, features, logits, inputs, config)
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.config = config
        self._policy_name = policy.name
        # As JSON, because Keras would track lists as parts of the model.
        self._object_names = json.dumps(object_names and list(object_names))
        self._attribute_names = json.dumps(attribute_names and list(attribute_names))

    @property
    def object_names(self) -> list[str] | None:
        """The names of the objects, in the order of their ids."""
        return json.loads(self._object_names)

    @property
    def attribute_names(self) -> list[str] | None:
        """The names of the attributes, in the order of their ids."""
        return json.loads(self._attribute_names)

    def prepare(self, images: Sequence[np.ndarray]) -> dict:
        """Return the call arguments for pictures of any sizes.

        Args:
            images: uint8 [height, width, 3] each, RGB.

        Returns:
            `images`, `image_sizes` and `scales`, as for a call.
        """
        return prepare_images(images, self.config)

    def detect(self, images: Sequence[np.ndarray]) -> list[Regions]:
        """Find the regions of pictures.

        Args:
            images: uint8 [height, width, 3] each, RGB.

        Returns:
            The regions of each picture.
        """
        if not images:
            return []
        outputs = self._compute(self.prepare(images))
        return [
            _regions({name: values[i] for name, values in outputs.items()}, *image.shape[:2])
            for i, image in enumerate(images)
        ]

    @functools.cached_property
    def _compute(self) -> Callable[[dict], dict[str, np.ndarray]]:
        """The model's outputs as arrays, from a graph that is traced once for all sizes."""
        shapes = {name: tf.TensorSpec(x.shape, x.dtype) for name, x in self.input.items()}
        graph = tf.function(lambda inputs: self(inputs, training=False), input_signature=[shapes])

        # Not the tf.function itself, because Keras would save it with the model.
        def compute(inputs: dict) -> dict[str, np.ndarray]:
            return {name: output.numpy() for name, output in graph(inputs).items()}

        return compute

    def get_config(self):
        """Return the arguments of the constructor; `from_config` is the inverse."""
        return {
            "config": self.config.to_dict(),
            "object_names": self.object_names,
            "attribute_names": self.attribute_names,
            "name": self.name,
            "dtype": self._policy_name,
            "frozen_layers": [layer.name for layer in self.layers if not layer.trainable],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return a detector with fresh weights, whose layers are frozen as in the config."""
        config = dict(config)
        frozen_layers = config.pop("frozen_layers", ())
        detector = cls(**config)
        for name in frozen_layers:
            detector.get_layer(name).trainable = False
        return detector

    def save_preset(self, directory) -> None:
        """Write a preset directory, whole or not at all; an older preset there is replaced.

        Args:
            directory: Its path; parents are made.

        Raises:
            InputError: The path is a file, or a directory that is not a preset.
        """
        write_preset(self, directory)

    @classmethod
    def from_preset(cls, directory, **kwargs) -> "Detector":
        """Load a preset.

        Args:
            directory: What `save_preset` or `lxmert import-weights` wrote, a directory laid out
                like unc-nlp/frcnn-vg-finetuned, or either as `hf://ORGANIZATION/NAME`.
            **kwargs: Arguments of the constructor that differ from the preset's, such as `flavor`.

        Raises:
            InputError: The directory or a part of it is missing or does not fit the others.
        """
        arguments = {**read_arguments(directory), **kwargs}
        try:
            detector = cls(**arguments)
        except ValueError as error:
            raise InputError(f"{directory}: {error}") from error
        load_weights(detector, directory)
        return detector


def _regions(outputs: dict, height: int, width: int) -> Regions:
    """Return the regions of one picture of a size."""
    count = outputs["region_count"]
    return Regions(
        features=outputs["features"][:count],
        boxes=relative_boxes(outputs["boxes"][:count], height, width).numpy(),
        object_ids=outputs["object_ids"][:count].astype(np.int64),
        object_confidences=outputs["object_confidences"][:count],
        attribute_ids=outputs["attribute_ids"][:count].astype(np.int64),
        attribute_confidences=outputs["attribute_confidences"][:count],
    )


def _backbone(inputs: dict, config: DetectorConfig, policy):
    """Return the maps of res4 and their sizes without padding."""
    options = {"epsilon": config.batch_norm_epsilon, "dtype": policy}
    sizes = inputs["image_sizes"]
    maps = Stem(config.stem_channels, name="stem", **options)(inputs["images"], sizes)
    map_sizes = None
    for stage, count in enumerate(config.blocks[:3]):
        name = f"res{stage + 2}"
        map_sizes = MapSizes(4 * 2**stage, dtype=policy, name=f"{name}_sizes")(sizes)
        for i in range(count):
            maps = Bottleneck(
                config.bottleneck_channels * 2**stage,
                config.stage_channels * 2**stage,
                strides=2 if stage and not i else 1,
                shortcut=i == 0,
                name=f"{name}_{i}",
                **options,
            )(maps, map_sizes)
    return maps, map_sizes


def _proposals(maps, map_sizes, inputs: dict, config: DetectorConfig, policy):
    logits, deltas = ProposalHead(
        config.proposal_channels, config.num_anchors, dtype=policy, name="proposal_head"
    )(maps, map_sizes)
    select = ProposalSelection(
        config.anchor_sizes,
        config.anchor_ratios,
        config.proposals_before_nms,
        config.max_proposals,
        config.proposal_nms_threshold,
        config.caffe.smallest_proposal,
        config.flavor,
        dtype="float32",
        name="proposal_selection",
    )
    return select(logits, deltas, map_sizes, inputs["image_sizes"], inputs["scales"])


def _selection(proposals, counts, features, logits, inputs: dict, config: DetectorConfig) -> dict:
    objects, attributes, deltas = logits
    options = {
        "min_regions": config.min_regions,
        "max_regions": config.max_regions,
        "dtype": "float32",
        "name": "region_selection",
    }
    if config.flavor == "caffe":
        rules = config.caffe
        select = CaffeSelection(rules.nms_threshold, rules.min_confidence, **options)
        return select(proposals, counts, features, objects, attributes, inputs["scales"])
    select = HfSelection(config.hf.nms_thresholds, **options)
    return select(
        proposals,
        counts,
        features,
        objects,
        attributes,
        deltas,
        inputs["image_sizes"],
        inputs["scales"],
    )
