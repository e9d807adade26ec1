"""Preset directories: a model's sizes, words, answers and weights; the only place that knows them.

config.json     the fields of LxmertConfig
preset.json     {"format": 1, "model": class name, "extractor": its config or null}
vocab.txt       one word piece a line, in the order of the ids
answers.txt     one answer a line, in the order of the logits
weights.*       a TensorFlow checkpoint
"""

import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
from typing import Any

import tensorflow as tf
from tensorflow import keras

from lxmert_tf.config_file import read_mapping
from lxmert_tf.errors import InputError
from lxmert_tf.models.config import LxmertConfig
from lxmert_tf.text_file import read_lines

FORMAT = 1
MODELS = ("LxmertBackbone", "LxmertPretrainer", "LxmertAnswerClassifier", "LxmertPairClassifier")


class PresetModel(keras.Model):
    """A Keras model that goes to a preset directory and comes from one.

    Args:
        config: sizes and rates: an `LxmertConfig` or a dict of its fields.
        vocabulary: the word pieces, in the order of their ids.
        answers: the answer table, in the order of the logits.
        extractor: the config of the region extractor that made the training features.
        output_attentions: whether calls return the attention probabilities too.
        **kwargs: `name`, `dtype` (a policy such as "mixed_bfloat16") and the like.

    Raises:
        ValueError: a list has another length than the config says, or an entry a line break.
    """

    # Where it is more than one, the region inputs have an axis for them behind the batch's.
    images_per_scene = 1

    def __init__(
        self,
        config: LxmertConfig | dict[str, Any],
        vocabulary: list[str] | None = None,
        answers: list[str] | None = None,
        extractor: dict[str, Any] | None = None,
        output_attentions: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = LxmertConfig.from_dict(config) if isinstance(config, dict) else config
        self.output_attentions = output_attentions
        _check_lines("vocabulary", vocabulary, "vocab_size", self.config.vocab_size)
        _check_lines("answers", answers, "num_answers", self.config.num_answers)
        # As JSON, because Keras would track lists and dicts in attributes as parts of the model.
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

    def get_config(self):
        """What the constructor takes; `from_config` is the inverse."""
        return {
            "config": self.config.to_dict(),
            "vocabulary": self.vocabulary,
            "answers": self.answers,
            "extractor": self.extractor,
            "output_attentions": self.output_attentions,
            "name": self.name,
            "dtype": self.dtype_policy.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """A model with fresh weights."""
        return cls(**config)

    def build_from_config(self, config):
        """Nothing: the constructor has made the variables. Keras calls it for `.keras` files."""

    def build_variables(self):
        """Makes every variable, by one call with a single word and a single region an image."""
        regions = [1, 1] if self.images_per_scene == 1 else [1, self.images_per_scene, 1]
        self(
            {
                "token_ids": tf.zeros([1, 1], tf.int32),
                "padding_mask": tf.ones([1, 1], tf.int32),
                "region_features": tf.zeros([*regions, self.config.region_feature_size]),
                "region_boxes": tf.zeros([*regions, self.config.region_box_size]),
            }
        )

    def save_preset(self, directory) -> None:
        """Writes a preset directory, whole or not at all; an older one there is replaced.

        Args:
            directory: its path; parents are made.

        Raises:
            InputError: the path is a file, or a directory that is no preset.
        """
        directory = pathlib.Path(directory)
        if directory.exists() and not (directory / "preset.json").is_file():
            if not directory.is_dir() or any(directory.iterdir()):
                raise InputError(f"{directory}: exists and is no preset; name another place")
        directory.parent.mkdir(parents=True, exist_ok=True)
        fresh = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            self._write_into(fresh)
            _replace_directory(fresh, directory)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _write_into(self, directory: pathlib.Path) -> None:
        about = {"format": FORMAT, "model": type(self).__name__, "extractor": self.extractor}
        (directory / "config.json").write_text(self.config.to_json(), encoding="utf-8")
        (directory / "preset.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        for name, lines in (("vocab.txt", self.vocabulary), ("answers.txt", self.answers)):
            if lines is not None:
                text = "".join(f"{line}\n" for line in lines)
                (directory / name).write_text(text, encoding="utf-8")
        tf.train.Checkpoint(model=self).write(str(directory / "weights"))

    @classmethod
    def from_preset(cls, directory, **kwargs):
        """Loads a preset.

        A preset of another class gives its backbone; the heads then start fresh.

        Args:
            directory: what `save_preset` wrote.
            **kwargs: arguments of the constructor that differ from the preset's.

        Raises:
            InputError: the directory or a part of it is missing or does not fit the others.
        """
        directory = pathlib.Path(directory)
        description = describe_preset(directory)
        stored = {
            name: getattr(description, name)
            for name in ("config", "vocabulary", "answers", "extractor")
        }
        try:
            model = cls(**{**stored, **kwargs})
        except ValueError as error:
            raise InputError(f"{directory}: {error}") from error
        model._load_weights(directory / "weights", description.model)
        return model

    def _load_weights(self, prefix: pathlib.Path, saved_class: str) -> None:
        target = self
        if saved_class != type(self).__name__:
            target = getattr(self, "backbone", self)
            if saved_class != "LxmertBackbone":
                target = tf.train.Checkpoint(backbone=target)
        try:
            status = tf.train.Checkpoint(model=target).read(str(prefix))
            status.assert_existing_objects_matched().expect_partial()
        except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
            # An IndexError is what TensorFlow makes of a file that ends too early.
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{prefix}: the weights cannot be loaded: {reason}") from error


@dataclasses.dataclass(frozen=True)
class PresetDescription:
    """What a preset says without its weights.

    Args:
        model: the name of the class that wrote it.
        config: sizes and rates.
        vocabulary, answers: as of `PresetModel`, or None.
        extractor: the config of the region extractor, or None.
    """

    model: str
    config: LxmertConfig
    vocabulary: list[str] | None
    answers: list[str] | None
    extractor: dict[str, Any] | None


def describe_preset(directory) -> PresetDescription:
    """Reads all of a preset but its weights.

    Raises:
        InputError: the directory or a part of it is missing or broken.
    """
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; a preset is one")
    config = LxmertConfig.from_file(directory / "config.json")
    about = _read_about(directory / "preset.json")
    return PresetDescription(
        model=about["model"],
        config=config,
        vocabulary=_lines_if_there(directory / "vocab.txt"),
        answers=_lines_if_there(directory / "answers.txt"),
        extractor=about["extractor"],
    )


def load_preset(directory) -> PresetModel:
    """Loads a preset as a model of the class that wrote it.

    Raises:
        InputError: as `from_preset`, or the class is none of this library.
    """
    import lxmert_tf

    path = pathlib.Path(directory) / "preset.json"
    name = describe_preset(directory).model
    if name not in MODELS:
        raise InputError(f"{path}: model is {name!r}; it must be one of {', '.join(MODELS)}")
    return getattr(lxmert_tf, name).from_preset(directory)


def _check_lines(name: str, lines, field: str, size: int) -> None:
    if lines is None:
        return
    if len(lines) != size:
        raise ValueError(f"{name} has {len(lines)} entries but config.{field} is {size}")
    # Now and not when the trained model is saved, or is even read back as another one.
    broken = [line for line in lines if "\n" in line or "\r" in line]
    if broken:
        raise InputError(f"{name} has the entry {broken[0]!r}; a line break cannot be kept in it")


def _read_about(path: pathlib.Path) -> dict[str, Any]:
    about = read_mapping(path)
    if about.get("format") != FORMAT:
        raise InputError(f"{path}: format is {about.get('format')!r}; this version reads {FORMAT}")
    if not isinstance(about.get("model"), str):
        raise InputError(f"{path}: the key 'model' must name the model's class")
    return {"extractor": None, **about}


def _lines_if_there(path: pathlib.Path) -> list[str] | None:
    return read_lines(path) if path.exists() else None


def _replace_directory(fresh: pathlib.Path, directory: pathlib.Path) -> None:
    # mkdtemp makes directories for the owner alone; a preset is read by servers too.
    fresh.chmod(0o777 & ~_umask())
    if not directory.exists():
        fresh.rename(directory)
        return
    old = pathlib.Path(tempfile.mkdtemp(prefix=f".{directory.name}-old-", dir=directory.parent))
    directory.rename(old / "old")
    fresh.rename(directory)
    shutil.rmtree(old)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
