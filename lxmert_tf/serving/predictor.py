"""Answers to questions about images, from a preset, an exported model, or a model server.

The back ends differ only in how they call a signature (see `Call`); everything between an
image and its answers happens in `Predictor.answer`.
"""

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lxmert_tf.errors import InputError, check_not_empty
from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.regions.image import decode_image
from lxmert_tf.regions.registry import make_extractor
from lxmert_tf.serving.client import Answers, Client, best_answers
from lxmert_tf.serving.errors import ServerError, Unavailable
from lxmert_tf.serving.layout import engine_of, find_model, is_preset, read_exported_extractor
from lxmert_tf.serving.picture_files import picture_file
from lxmert_tf.storage import is_url

# TensorFlow is imported by the back ends that need it: a client of a server does not.
if TYPE_CHECKING:
    from lxmert_tf.models.presets import PresetModel

# Calls a signature by name with arrays by name, and returns its outputs by name.
Call = Callable[[str, dict[str, Any]], dict[str, np.ndarray]]

# Pixels, or the contents of a file.
Image = np.ndarray | bytes

# The classes of presets that answer questions.
_ANSWER_MODELS = ("LxmertAnswerClassifier", "LxmertPairClassifier")
# The signatures of models that contain their detector.
_PICTURE = "answer_about_picture"
_ENCODE_PICTURE = "encode_picture"
# Pairs per call of a signature, which bounds the memory and suits servers with limited batches.
PAIRS_PER_CALL = 32


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An image that a model has read, to ask any number of questions about.

    Args:
        state: float32 [1, R, H], from the signature `encode_image` or `encode_picture`.
        regions: The regions of the image; None if the model found them itself.
    """

    state: np.ndarray
    regions: Regions | None = None


@dataclasses.dataclass(frozen=True)
class EncodedQuestions:
    """Questions that a model has read, to ask about any number of images.

    Args:
        state: float32 [Q, T, H], from the signature `encode_question`.
    """

    state: np.ndarray


class Predictor:
    """Answers questions about one image, or judges statements about two.

    Use one of the constructors `from_directory`, `from_preset`, `from_saved_model`,
    `from_openvino` and `from_endpoint`.

    Args:
        call: Calls a signature of the model.
        extractor: The region extractor that made the model's training data; None if the model
            contains it.
        images: Number of images that the model reads: 1 or 2. None if unknown.
        source: Name of the model in messages.
        signatures: Returns the names of the model's signatures, and raises a `ServerError` if they
            are not told; None if the model cannot contain its detector.

    Attributes:
        extractor: As given.
        images: As given.

    Example:
        ```python
        predictor = Predictor.from_directory("saved_models/easy_vqa")
        [answers] = predictor.answer(read_image("circle.png"), ["what shape is it?"])
        answers[0]  # ("circle", 0.98)
        ```
    """

    def __init__(
        self,
        call: Call,
        extractor: RegionExtractor | None,
        images: int | None = None,
        source: str = "",
        signatures: Callable[[], Collection[str]] | None = None,
    ):
        self._call = call
        self.extractor = extractor
        self.images = images
        self._source = source
        self._signatures = signatures

    @classmethod
    def from_directory(
        cls,
        directory,
        extractor: RegionExtractor | None = None,
        answers: Sequence[str] | None = None,
        top_k: int = 5,
    ) -> "Predictor":
        """Load a model from disk, whatever its form.

        Args:
            directory: As for `find_model`: a preset, a SavedModel, an OpenVINO model, a directory
                of Hugging Face's LXMERT, a folder of numbered exported models, or
                `hf://ORGANIZATION/NAME`.
            extractor: Region extractor to use, such as a `DetectorExtractor`; the one that is
                stored with the model if None.
            answers: Names of the answers of a preset that has none, in the order of the logits.
            top_k: Answers of a preset per question, at least 1. An exported model keeps the number
                that it was exported with.

        Raises:
            InputError: There is no such model, it does not name its region extractor, or the
                extractor or the answers do not fit it.
        """
        model = find_model(directory)
        if is_url(directory):
            # Not downloaded again, in case it has changed meanwhile.
            directory = model
        if is_preset(model):
            return cls.from_preset(directory, extractor, answers, top_k)
        if answers is not None:
            raise InputError(f"{directory}: an exported model has names of its answers already")
        if engine_of(model) == "openvino":
            return cls.from_openvino(model, extractor)
        return cls.from_saved_model(model, extractor)

    @classmethod
    def from_preset(
        cls,
        directory,
        extractor: RegionExtractor | None = None,
        answers: Sequence[str] | None = None,
        top_k: int = 5,
    ) -> "Predictor":
        """Load a preset of an `LxmertAnswerClassifier` or an `LxmertPairClassifier`.

        Args:
            directory: The preset; see `load_preset`.
            extractor: As for `from_directory`.
            answers: As for `from_directory`. A directory of Hugging Face without names has
                "answer 0", "answer 1" and so on.
            top_k: As for `from_directory`.

        Raises:
            InputError: The preset is missing or broken, cannot answer questions, or does not name
                its region extractor, or the extractor or the answers do not fit it.
        """
        from lxmert_tf.models.answer_names import load_with_numbered_answers
        from lxmert_tf.models.presets import describe_preset

        source = str(directory)
        description = describe_preset(directory)
        if description.model in _ANSWER_MODELS:
            # Before the weights are read, which takes seconds.
            extractor = extractor_of_model(
                description.extractor, description.config.region_feature_size, source, extractor
            )
        model = load_with_numbered_answers(directory, answers)
        return cls.from_model(model, source, extractor, top_k)

    @classmethod
    def from_model(
        cls,
        model: "PresetModel",
        source: str = "",
        extractor: RegionExtractor | None = None,
        top_k: int = 5,
    ) -> "Predictor":
        """Ask a model in memory.

        Args:
            model: An `LxmertAnswerClassifier` or an `LxmertPairClassifier` with its vocabulary and
                answers.
            source: Name of the model in messages.
            extractor: As for `from_directory`.
            top_k: Answers per question, at least 1.

        Raises:
            InputError: The model cannot answer questions or lacks a part, or the extractor does
                not fit it.
        """
        from lxmert_tf.serving.signatures import make_served_module

        try:
            module = make_served_module(model, top_k=top_k)
        except ValueError as error:
            raise InputError(f"{source}: {error}") from error
        size = model.config.region_feature_size
        extractor = extractor_of_model(model.extractor, size, source, extractor)
        return cls(module.call, extractor, model.images_per_scene, source)

    @classmethod
    def from_saved_model(cls, directory, extractor: RegionExtractor | None = None) -> "Predictor":
        """Load a SavedModel.

        Args:
            directory: The SavedModel, or a folder of numbered versions, of which the highest
                number is loaded.
            extractor: As for `from_directory`.

        Raises:
            InputError: There is no such SavedModel, it has no signature that answers questions,
                it does not name its region extractor, or the extractor does not fit it.
        """
        from lxmert_tf.serving.session import SavedModelSession

        directory = find_model(directory)
        source = str(directory)
        session = SavedModelSession(directory)
        if "serving_default" not in session.specs:
            raise InputError(f"{source}: no signature 'serving_default'; not an answer model")
        if extractor is None and _PICTURE in session.specs:
            return cls(session.run, None, 1, source, lambda: session.specs)
        features = session.specs["serving_default"]["region_features"].width
        extractor = extractor_of_model(
            read_exported_extractor(directory), features, source, extractor
        )
        images = 1 if "encode_image" in session.specs else 2
        return cls(session.run, extractor, images, source)

    @classmethod
    def from_openvino(cls, directory, extractor: RegionExtractor | None = None) -> "Predictor":
        """Load an OpenVINO model, without TensorFlow.

        Args:
            directory: The OpenVINO model, or a folder of numbered versions, of which the highest
                number is loaded.
            extractor: As for `from_directory`.

        Raises:
            InputError: There is no such model, it is damaged, it does not name its region
                extractor, or the extractor does not fit it.
            ModuleNotFoundError: The package openvino or tokenizers is not installed.
        """
        from lxmert_tf.serving.openvino_session import OpenVinoSession

        directory = find_model(directory)
        session = OpenVinoSession(directory)
        features = session.specs["serving_default"]["region_features"].width
        extractor = extractor_of_model(
            read_exported_extractor(directory), features, str(directory), extractor
        )
        images = 1 if "encode_image" in session.specs else 2
        return cls(session.run, extractor, images, str(directory))

    @classmethod
    def from_endpoint(
        cls,
        endpoint: str,
        model_name: str,
        extractor: RegionExtractor | dict[str, Any] | None = None,
        label_or_version: str | int | None = None,
        timeout: float = 60.0,
    ) -> "Predictor":
        """Connect to TensorFlow Serving or `lxmert serve`.

        Args:
            endpoint: URL of the server; see `Client`.
            model_name: Name of the model on the server.
            extractor: The model's region extractor or its config, which servers do not report:
                `assets.extra/extractor.json` of the SavedModel. Default: the detector in the model,
                if it was exported with one, else the grid extractor.
            label_or_version: Version of the model; see `Client`.
            timeout: Seconds per call.

        Raises:
            InputError: The endpoint or a name is malformed, or the extractor is unknown.
        """
        client = Client(endpoint, model_name, label_or_version, timeout)
        signatures = client.signatures if extractor is None else None
        if not isinstance(extractor, RegionExtractor):
            extractor = make_extractor(extractor or {"name": "grid"})
        return cls(client.call, extractor, source=endpoint, signatures=signatures)

    @functools.cached_property
    def takes_files(self) -> bool:
        """Whether the model contains its detector, and takes JPEG and PNG files."""
        if self._signatures is None:
            return False
        try:
            return _PICTURE in self._signatures()
        except Unavailable:
            raise
        except ServerError:
            # Some gateways pass on `:predict` alone.
            return False

    def answer(self, images: Image | Sequence[Image], questions: Sequence[str]) -> list[Answers]:
        """Answer questions about one image, or judge statements about two.

        Args:
            images: uint8 [height, width, 3] or the contents of an image file: one image, or a
                sequence of one or two; the left image of two comes first. A model that contains its
                detector gets JPEG and PNG files as they are, and other images as PNG files.
            questions: Questions, or statements about two images.

        Returns:
            For each question its best answers with scores in 0..1, best first. The answers to a
            statement are "True" and "False".

        Raises:
            InputError: A question is empty, an image is given by its name, the model reads another
                number of images, or the extractor finds nothing in an image.
            ServerError: A server gives no answers.
        """
        check_not_empty(questions, "question")
        if isinstance(images, np.ndarray | bytes | str | os.PathLike):
            images = [images]
        names: list[Any] = [image for image in images if isinstance(image, str | os.PathLike)]
        if names:
            raise InputError(
                f"{names[0]}: an image must be pixels or the contents of a file, not its name; "
                "read it with read_image"
            )
        if len(images) not in (1, 2):
            raise InputError(f"{len(images)} images; a model reads 1 or 2")
        reads = 1 if self.takes_files else self.images
        if reads not in (None, len(images)):
            plural = "s" if reads == 2 else ""
            raise InputError(
                f"{self._source}: the model reads {reads} image{plural}, not {len(images)}"
            )
        if self.takes_files or self.extractor is None:
            return self._answer_about_file(picture_file(images[0]), questions)
        if len(images) == 1:
            return self.answer_about(self.encode(images[0]), questions)
        return self.judge(self.extractor.extract_batch([_pixels(i) for i in images]), questions)

    def judge(self, regions: Sequence[Regions], statements: Sequence[str]) -> list[Answers]:
        """Judge statements about two images whose regions are known.

        Args:
            regions: The regions of the left and of the right image, from the model's extractor.
            statements: The statements.

        Returns:
            As `answer`.

        Raises:
            InputError: A statement is empty, or an image has no regions.
            ServerError: A server gives no answers.
        """
        check_not_empty(statements, "statement")
        # The batch axis, because every statement is about the same images.
        inputs = {
            name: np.repeat(values[np.newaxis], len(statements), axis=0)
            for name, values in padded_regions(regions).items()
        }
        return best_answers(self._call("serving_default", {"question": list(statements), **inputs}))

    def encode(self, image: Image) -> EncodedImage:
        """Read one image, for any number of calls of `answer_about`.

        Args:
            image: As for `answer`.

        Raises:
            InputError: The contents are not those of an image, or nothing is found in it.
            ServerError: A server does not encode the image.
        """
        if self.takes_files or self.extractor is None:
            outputs = self._call(_ENCODE_PICTURE, {"image": [picture_file(image)]})
            self._check_picture(outputs)
            return EncodedImage(outputs["image_state"])
        return self.encode_regions(self.extractor.extract(_pixels(image)))

    def encode_regions(self, regions: Regions) -> EncodedImage:
        """Read the regions of one image, as `encode` does after it found them.

        Args:
            regions: The regions, from the model's extractor.

        Raises:
            InputError: There are no regions.
            ServerError: A server does not encode them.
        """
        outputs = self._call("encode_image", padded_regions([regions]))
        return EncodedImage(outputs["image_state"], regions)

    def answer_about(self, image: EncodedImage, questions: Sequence[str]) -> list[Answers]:
        """Answer questions about an image that was encoded before.

        Args:
            image: From `encode`.
            questions: The questions.

        Returns:
            As `answer`.

        Raises:
            InputError: A question is empty.
            ServerError: A server gives no answers.
        """
        check_not_empty(questions, "question")
        inputs = {"question": list(questions), "image_state": image.state}
        return best_answers(self._call("answer_about_image", inputs))

    def encode_questions(self, questions: Sequence[str]) -> EncodedQuestions:
        """Read questions, for any number of calls of `answer_pairs`.

        Args:
            questions: The questions.

        Raises:
            InputError: A question is empty, or the model reads two images or was exported by an
                earlier version.
            ServerError: A server does not encode the questions.
        """
        check_not_empty(questions, "question")
        outputs = self._call("encode_question", {"question": list(questions)})
        return EncodedQuestions(outputs["question_state"])

    def answer_pairs(
        self, images: Sequence[EncodedImage], questions: EncodedQuestions
    ) -> list[list[Answers]]:
        """Answer every question about every image; only what depends on both is computed.

        Args:
            images: From `encode`.
            questions: From `encode_questions`.

        Returns:
            For each image a list as from `answer`, with the best answers to each question.

        Raises:
            ServerError: A server gives no answers.

        Example:
            ```python
            questions = predictor.encode_questions(["what shape is it?", "what color is it?"])
            for image in pictures:
                [[shape, color]] = predictor.answer_pairs([predictor.encode(image)], questions)
            ```
        """
        count = len(questions.state)
        answers: list[Answers] = []
        for start in range(0, count * len(images), PAIRS_PER_CALL):
            pairs = range(start, min(start + PAIRS_PER_CALL, count * len(images)))
            inputs = {
                "question_state": questions.state[[pair % count for pair in pairs]],
                "image_state": _stack_states([images[pair // count].state for pair in pairs]),
            }
            answers += best_answers(self._call("answer_pairs", inputs))
        return [answers[i * count : (i + 1) * count] for i in range(len(images))]

    def _answer_about_file(self, file: bytes, questions: Sequence[str]) -> list[Answers]:
        outputs = self._call(_PICTURE, {"question": list(questions), "image": [file]})
        self._check_picture(outputs)
        return best_answers(outputs)

    def _check_picture(self, outputs: dict[str, np.ndarray]) -> None:
        for error in set(outputs["error"]) - {"", b""}:
            text = error.decode() if isinstance(error, bytes) else error
            raise InputError(f"{self._source}: {text}")


def _pixels(image: Image) -> np.ndarray:
    return decode_image(io.BytesIO(image)) if isinstance(image, bytes) else image


def _stack_states(states: Sequence[np.ndarray]) -> np.ndarray:
    """Return states [1, R, H] as one array [B, R, H], padded with zeros to the most regions."""
    most = max(state.shape[1] for state in states)
    return np.concatenate(
        [np.pad(state, [(0, 0), (0, most - state.shape[1]), (0, 0)]) for state in states]
    )


def padded_regions(extracted: Sequence[Regions]) -> dict[str, np.ndarray]:
    """Return the regions of I images, padded with zeros to the same number.

    Args:
        extracted: The regions of each image.

    Returns:
        `region_features` float32 [I, R, F], `region_boxes` float32 [I, R, 4] and `region_count`
        int32 [I].

    Raises:
        InputError: An image has no regions.
    """
    for number, regions in enumerate(extracted, start=1):
        check_found(regions, f"image {number}" if len(extracted) > 1 else "the image")
    count = np.array([len(regions) for regions in extracted], np.int32)
    size = extracted[0].features.shape[1]
    features = np.zeros([len(extracted), count.max(), size], np.float32)
    boxes = np.zeros([len(extracted), count.max(), 4], np.float32)
    for i, regions in enumerate(extracted):
        features[i, : count[i]] = regions.features
        boxes[i, : count[i]] = regions.boxes
    return {"region_features": features, "region_boxes": boxes, "region_count": count}


def check_found(regions: Regions, image: str = "the image") -> None:
    """Check that an image has regions.

    Args:
        regions: Its regions.
        image: Name of the image, for the message.

    Raises:
        InputError: There are none.
    """
    if not len(regions):
        raise InputError(f"no regions were found in {image}; there is nothing to ask about")


def extractor_of_model(
    config: dict[str, Any] | None,
    feature_size: int,
    source: str,
    chosen: RegionExtractor | None = None,
) -> RegionExtractor:
    """Return the region extractor that a model is used with.

    Args:
        config: The config of the extractor that the model was trained with, as stored with it; None
            if none is stored.
        feature_size: Size of the region features that the model reads.
        source: Name of the model in messages.
        chosen: The extractor to use in its place.

    Raises:
        InputError: No extractor is stored, it is unknown, or its features have another size.
    """
    if chosen is None:
        chosen = _stored_extractor(config, source)
    if chosen.feature_size != feature_size:
        raise InputError(
            f"{source}: the model reads {feature_size} features per region, but the extractor "
            f"{chosen.name!r} gives {chosen.feature_size}"
        )
    return chosen


def _stored_extractor(config: dict[str, Any] | None, source: str) -> RegionExtractor:
    if config is None:
        raise InputError(
            f"{source}: no region extractor is stored, so it cannot read an image; name the "
            "detector that made its training data with --detector"
        )
    try:
        return make_extractor(config)
    except InputError as error:
        raise InputError(f"{source}: its region extractor: {error}") from error
