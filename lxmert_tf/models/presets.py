"""Preset directories: a model with its words and answers. Only this module knows their layout.

config.json     the fields of LxmertConfig
preset.json     {"format": 1, "model": class name, "extractor": its config or null}
vocab.txt       one word piece per line, in the order of the ids
answers.txt     one answer per line, in the order of the logits
weights.*       a TensorFlow checkpoint of the model's weights, and of nothing else

A directory of Hugging Face's LXMERT is loaded like one (see `lxmert_tf.converters.huggingface`).
"""

import dataclasses
import importlib
import json
import logging
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.atomic_write import atomic_directory
from lxmert_tf.config_file import read_mapping
from lxmert_tf.converters.foreign_config import is_huggingface
from lxmert_tf.errors import InputError, first_line
from lxmert_tf.hub import local_directory
from lxmert_tf.layers.normalization import LayerNorm
from lxmert_tf.local_copy import local_name
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.models.stored_size import check_stored_size
from lxmert_tf.text_file import read_lines

_logger = logging.getLogger(__name__)

FORMAT = 1
# The classes of models and their modules, which import this one.
MODELS = {
    "LxmertBackbone": "lxmert_tf.models.backbone",
    "LxmertPretrainer": "lxmert_tf.models.pretrainer",
    "LxmertAnswerClassifier": "lxmert_tf.models.answer_classifier",
    "LxmertPairClassifier": "lxmert_tf.models.pair_classifier",
}


def dtype_policy(dtype) -> keras.mixed_precision.Policy:
    """Return the dtype policy of a model: the one that is named, or Keras's global policy."""
    if dtype is None:
        return keras.mixed_precision.global_policy()
    if isinstance(dtype, keras.mixed_precision.Policy):
        return dtype
    return keras.mixed_precision.Policy(dtype)


class PresetModel(keras.Model):
    """A functional Keras model that is saved to a preset directory and loaded from one.

    A subclass builds its layers and its graph, then calls this constructor.

    Args:
        inputs: Symbolic inputs by name.
        outputs: Symbolic outputs.
        config: Sizes and rates.
        vocabulary: The word pieces, in the order of their ids.
        answers: The answer table, in the order of the logits.
        extractor: The config of the region extractor that made the training features.
        output_attentions: Whether calls of the model return the attention probabilities by default.
            `fit`, `evaluate` and `predict` never see them.
        dtype: The dtype policy, such as "mixed_bfloat16".
        **kwargs: `name` and `trainable` of the model.

    Raises:
        ValueError: A list has another length than the config says, or an entry has a line break.
    """

    # With more than one image per scene, the region inputs have an axis for them after the batch's.
    images_per_scene = 1
    # The attributes that hold the heads, which are also their names in a preset's checkpoint.
    head_names: tuple[str, ...] = ()

    def __init__(
        self,
        inputs,
        outputs,
        config: LxmertConfig,
        vocabulary: list[str] | None = None,
        answers: list[str] | None = None,
        extractor: dict[str, Any] | None = None,
        output_attentions: bool = False,
        dtype=None,
        **kwargs,
    ):
        check_lines("vocabulary", vocabulary, "vocab_size", config.vocab_size)
        check_lines("answers", answers, "num_answers", config.num_answers)
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        # Optional inputs may be missing; `call` checks the others.
        self.input_spec = None
        self.config = config
        self.output_attentions = output_attentions
        self._policy_name = dtype_policy(dtype).name
        # As JSON, because Keras would track lists and dicts as parts of the model.
        self._vocabulary = json.dumps(vocabulary)
        self._answers = json.dumps(answers)
        self._extractor = json.dumps(extractor)

    @property
    def vocabulary(self) -> list[str] | None:
        """The word pieces, in the order of their ids."""
        return json.loads(self._vocabulary)

    @property
    def answers(self) -> list[str] | None:
        """The answer table, in the order of the logits."""
        return json.loads(self._answers)

    @property
    def extractor(self) -> dict[str, Any] | None:
        """The config of the region extractor that made the training features."""
        return json.loads(self._extractor)

    # A functional model has the global policy whatever its layers have.

    @property
    def dtype_policy(self) -> keras.mixed_precision.Policy:
        """The dtype policy of the layers."""
        return keras.mixed_precision.Policy(self._policy_name)

    @property
    def compute_dtype(self) -> str:
        """The dtype that the layers compute in."""
        return self.dtype_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights."""
        return self.dtype_policy.variable_dtype

    def returns_attentions(self, output_attentions: bool | None) -> bool:
        """Return whether a call with this argument returns attention probabilities."""
        return self.output_attentions if output_attentions is None else output_attentions

    def step_options(self) -> dict[str, Any]:
        """Return the arguments with which `fit`, `evaluate` and `predict` call the model."""
        return {"output_attentions": False}

    def train_step(self, data):
        """Train on one batch, as Keras does, without attention probabilities."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True, **self.step_options())
            loss = self.compute_loss(x, y, y_pred, sample_weight)
        if self.loss and y is None:
            raise ValueError("the batches have no targets, which the compiled loss needs")
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data):
        """Evaluate one batch, as Keras does, without attention probabilities."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False, **self.step_options())
        self.compute_loss(x, y, y_pred, sample_weight)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data):
        """Predict one batch, as Keras does, without attention probabilities."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self(x, training=False, **self.step_options())

    def get_config(self):
        """Return the arguments of the constructor; `from_config` is the inverse."""
        return {
            "config": self.config.to_dict(),
            "vocabulary": self.vocabulary,
            "answers": self.answers,
            "extractor": self.extractor,
            "output_attentions": self.output_attentions,
            "name": self.name,
            "dtype": self.dtype_policy.name,
            "frozen_layers": [layer.name for layer in self.all_layers() if not layer.trainable],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Return a model with fresh weights, whose layers are frozen as in the config."""
        config = dict(config)
        frozen_layers = config.pop("frozen_layers", ())
        model = cls(**config)
        for layer in model.all_layers():
            if layer.name in frozen_layers:
                layer.trainable = False
        return model

    def all_layers(self) -> list[keras.layers.Layer]:
        """Return the layers of the model, those of its backbone included, each once."""
        backbone = getattr(self, "backbone", None)
        layers = [*self.layers, *(backbone.layers if backbone is not None else ())]
        return list({id(layer): layer for layer in layers}.values())

    def save_preset(self, directory) -> None:
        """Write a preset directory, whole or not at all; an older preset there is replaced.

        Args:
            directory: Its path, whose parents are made, or a URL.

        Raises:
            InputError: The path is a file, or a directory that is not a preset.
        """
        about = {"format": FORMAT, "model": type(self).__name__, "extractor": self.extractor}
        with atomic_directory(directory, marker="preset.json") as fresh:
            (fresh / "config.json").write_text(self.config.to_json(), encoding="utf-8")
            (fresh / "preset.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            for name, lines in (("vocab.txt", self.vocabulary), ("answers.txt", self.answers)):
                if lines is not None:
                    text = "".join(f"{line}\n" for line in lines)
                    (fresh / name).write_text(text, encoding="utf-8")
            _checkpoint(self, "model").write(str(fresh / "weights"))

    @classmethod
    def from_preset(cls, directory, **kwargs):
        """Load a preset.

        A preset of another class gives its backbone; the heads then start fresh. With a `config`
        that has another number of answers, objects or attributes, everything is loaded but the
        last layer of their head, which starts fresh; a warning says so. An optimizer that an old
        preset holds is ignored.

        Args:
            directory: What `save_preset` wrote, a directory of Hugging Face's LXMERT, or either at
                a URL or as `hf://ORGANIZATION/NAME`.
            **kwargs: Arguments of the constructor that differ from the preset's. The preset's
                answers are left out where `config` has another number of them.

        Raises:
            InputError: The directory or a part of it is missing or does not fit the others.
        """
        # Once, because a preset at a URL may be replaced between its description and its weights.
        directory = local_name(directory)
        description = describe_preset(directory)
        stored = {
            name: getattr(description, name)
            for name in ("config", "vocabulary", "answers", "extractor")
        }
        config = kwargs.get("config", description.config)
        if isinstance(config, dict):
            config = LxmertConfig.from_dict(config)
        if config.num_answers != description.config.num_answers:
            stored["answers"] = None
        if "config" not in kwargs:
            check_stored_size(config, local_directory(directory), cls.head_names)
        try:
            model = cls(**{**stored, **kwargs})
        except ValueError as error:
            raise InputError(f"{directory}: {error}") from error
        model._load_weights(local_directory(directory), description)
        return model

    def _load_weights(self, directory: pathlib.Path, saved: "PresetDescription") -> None:
        prefix = directory / "weights"
        part: Any = self
        root, resized = "model", {}
        if saved.model == type(self).__name__:
            resized = _resized_layers(self, saved.config)
            for path, sizes in resized.items():
                head = path.partition("/")[0]
                _logger.warning("%s: %s; the last layer of %s starts fresh", directory, sizes, head)
        else:
            root = "model" if saved.model == "LxmertBackbone" else "model/backbone"
            part = getattr(self, "backbone", self)
        if is_huggingface(directory):
            from lxmert_tf.converters.huggingface import load_weights

            return load_weights(part, directory, without=_weights_of(part, resized))
        checkpoint = _checkpoint(part, root, without=resized)
        try:
            status = checkpoint.read(str(prefix))
            status.assert_existing_objects_matched().expect_partial()
        except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
            # TensorFlow raises an IndexError for a file that ends too early.
            reason = first_line(error)
            raise InputError(f"{prefix}: the weights cannot be loaded: {reason}") from error


# The layers of a backbone as format 1 names them.
_BACKBONE_PATHS = {
    "language_embeddings": "language_encoder/embeddings",
    "language_layers": "language_encoder/transformer_layers",
    "region_embeddings": "relationship_encoder/embeddings",
    "relationship_layers": "relationship_encoder/transformer_layers",
    "cross_modality_layers": "cross_modality_encoder/transformer_layers",
    "pooler": "pooler",
}
# The size of the last layer of each head: the field of the config, and the layer in format 1. A
# model may be loaded with other sizes than the preset's; these layers then start fresh.
_OUTPUT_LAYERS = {
    "num_answers": "answer_head/answers",
    "num_objects": "region_head/objects",
    "num_attributes": "region_head/attributes",
}


def weight_paths(model: PresetModel) -> Iterator[tuple[str, tf.Variable]]:
    """Yield the path of each weight in a preset's checkpoint, and the weight.

    The weights of a model are all that a preset holds: no optimizer and no metric, which Keras
    tracks as parts of a compiled model.
    """
    if hasattr(model, "backbone"):
        for path, weight in weight_paths(model.backbone):
            yield f"backbone/{path}", weight
        for head in model.head_names:
            yield from _layer_paths(getattr(model, head), head)
        return
    for attribute, path in _BACKBONE_PATHS.items():
        part = getattr(model, attribute)
        if isinstance(part, keras.layers.Layer):
            yield from _layer_paths(part, path)
            continue
        for i, layer in enumerate(part):
            yield from _layer_paths(layer, f"{path}/{i}")


def _resized_layers(model: PresetModel, saved: LxmertConfig) -> dict[str, str]:
    """Return the output layers whose size is not the saved one, with a description of the sizes."""
    sizes = {
        path: (field.removeprefix("num_"), getattr(model.config, field), getattr(saved, field))
        for field, path in _OUTPUT_LAYERS.items()
        if path.partition("/")[0] in model.head_names
    }
    return {
        path: f"the model has {ours} {name} and the preset {theirs}"
        for path, (name, ours, theirs) in sizes.items()
        if ours != theirs
    }


def _weights_of(model: PresetModel, layers: Collection[str]) -> list[tf.Variable]:
    """Return the weights of layers, which are named by their paths."""
    return [weight for path, weight in weight_paths(model) if path.rpartition("/")[0] in layers]


def _layer_paths(layer, path: str) -> Iterator[tuple[str, tf.Variable]]:
    # Format 1 is older than the layer, which was two.
    if isinstance(layer, LayerNorm):
        path += "/float32"
    for name, child in tf.train.TrackableView(layer).children(layer).items():
        if isinstance(child, tf.Variable):
            yield f"{path}/{name}", child
        elif isinstance(child, keras.layers.Layer):
            yield from _layer_paths(child, f"{path}/{name}")


def _checkpoint(
    model: PresetModel, root: str, without: Collection[str] = ()
) -> tf.train.Checkpoint:
    """Return a checkpoint of a model's weights, each at `root`/`path`.

    Args:
        model: The model.
        root: Where its weights are in the checkpoint.
        without: Paths of layers that are left out.
    """
    tree = tf.Module()
    for path, weight in weight_paths(model):
        if path.rpartition("/")[0] in without:
            continue
        node = tree
        *parents, name = f"{root}/{path}".split("/")
        for parent in parents:
            if not hasattr(node, parent):
                setattr(node, parent, tf.Module())
            node = getattr(node, parent)
        setattr(node, name, weight)
    return tf.train.Checkpoint(model=tree.model)


@dataclasses.dataclass(frozen=True)
class PresetDescription:
    """The contents of a preset without its weights.

    Args:
        model: Name of the class that wrote it.
        config: Sizes and rates.
        vocabulary: Word pieces, or None.
        answers: Answer table, or None.
        extractor: Config of the region extractor, or None.
    """

    model: str
    config: LxmertConfig
    vocabulary: list[str] | None
    answers: list[str] | None
    extractor: dict[str, Any] | None


def describe_preset(directory) -> PresetDescription:
    """Read everything in a preset except the weights.

    Args:
        directory: As for `from_preset`.

    Raises:
        InputError: The directory or a part of it is missing or damaged.
    """
    name, directory = directory, local_directory(directory)
    if not directory.is_dir():
        raise InputError(f"preset not found: {directory}")
    if is_huggingface(directory):
        # It imports the models, which import this module.
        from lxmert_tf.converters.huggingface import describe_directory

        return describe_directory(name)
    about = read_about(directory / "preset.json")
    if about["model"] == "Detector":
        raise InputError(
            f"{directory}: a preset of a detector, which finds regions; give the preset of the "
            "model that reads them"
        )
    config = LxmertConfig.from_file(directory / "config.json")
    return PresetDescription(
        model=about["model"],
        config=config,
        vocabulary=_lines_if_there(directory / "vocab.txt"),
        answers=_lines_if_there(directory / "answers.txt"),
        extractor=about["extractor"],
    )


def load_preset(directory, **kwargs) -> PresetModel:
    """Load a preset as a model of the class that wrote it.

    Args:
        directory: As for `from_preset`.
        **kwargs: As for `from_preset`.

    Raises:
        InputError: As for `from_preset`, or the class is not one of this library.
    """
    directory = local_name(directory)
    name = describe_preset(directory).model
    if name not in MODELS:
        path = local_directory(directory) / "preset.json"
        raise InputError(f"{path}: model is {name!r}; it must be one of {', '.join(MODELS)}")
    return getattr(importlib.import_module(MODELS[name]), name).from_preset(directory, **kwargs)


def check_lines(name: str, lines: Sequence[str] | None, field: str, size: int) -> None:
    """Check a list that a preset keeps as the lines of a file.

    Args:
        name: The constructor's argument.
        lines: The list, or None.
        field: The field of the config that gives its length.
        size: The length.

    Raises:
        ValueError: The list has another length.
        InputError: An entry has a line break.
    """
    if lines is None:
        return
    if len(lines) != size:
        raise ValueError(f"{name} has {len(lines)} entries but config.{field} is {size}")
    # Refused here: a saved list with a line break would be read back as a longer one.
    broken = [line for line in lines if any(character in line for character in "\n\r\0")]
    if broken:
        raise InputError(f"{name} has the entry {broken[0]!r}; line breaks and NUL are not allowed")


def read_about(path: pathlib.Path) -> dict[str, Any]:
    """Return the contents of a preset.json, with the keys "model" and "extractor".

    Raises:
        InputError: The file is damaged or of another format.
    """
    about = read_mapping(path)
    if about.get("format") != FORMAT:
        raise InputError(f"{path}: format is {about.get('format')!r}; this version reads {FORMAT}")
    if not isinstance(about.get("model"), str):
        raise InputError(f"{path}: the key 'model' must name the model's class")
    return {"extractor": None, **about}


def _lines_if_there(path: pathlib.Path) -> list[str] | None:
    return read_lines(path) if path.exists() else None
