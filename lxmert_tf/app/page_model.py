"""A model as the page uses it: loaded once, and shared by all visitors."""

import dataclasses
import enum
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import RegionExtractor, Regions
from lxmert_tf.regions.image import decode_image
from lxmert_tf.serving.client import Answers, Client
from lxmert_tf.serving.errors import ServerError, Unavailable
from lxmert_tf.serving.picture_files import picture_file
from lxmert_tf.serving.predictor import EncodedImage, Predictor, check_found
from lxmert_tf.visualization.explorer import shown_pixels
from lxmert_tf.visualization.region_names import region_names

# TensorFlow is imported for models on disk: the page of a server's models does without.
if TYPE_CHECKING:
    from lxmert_tf.serving.ranker import Ranker
    from lxmert_tf.visualization.attention_maps import AttentionMaps, AttentionReader

ATTENTION_NEEDS_PRESET = "Where the model looked can only be seen with a preset (--model PRESET)"
# What is asked before the first visitor comes.
_SENTENCE = "what is it?"


class Task(enum.Enum):
    """What a model does."""

    ANSWER = "answers questions about a picture"
    JUDGE = "judges statements about two pictures"
    RANK = "ranks sentences about a picture"


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that a model has read.

    Args:
        pixels: uint8 [height, width, 3], in the size in which the page shows it.
        regions: Its regions; None if the model contains its detector, which keeps them.
        names: The name of each region, or "".
        encoded: What the model keeps of it between questions; None for tasks without.
    """

    pixels: np.ndarray
    regions: Regions | None
    names: list[str]
    encoded: EncodedImage | None = None


class PageModel:
    """A model of any kind. Use `lxmert_tf.app.open_model.open_model` or `connect`.

    Args:
        task: What it does.
        predictor: Gives answers and judgments; None for `Task.RANK`.
        ranker: Ranks sentences; None for the other tasks.
        reader: Reads attention; None if the model is not a preset.

    Attributes:
        task: As given.
    """

    def __init__(
        self,
        task: Task,
        predictor: Predictor | None = None,
        ranker: "Ranker | None" = None,
        reader: "AttentionReader | None" = None,
    ):
        self.task = task
        self._predictor = predictor
        self._ranker = ranker
        self._reader = reader

    @property
    def shows_attention(self) -> bool:
        """Whether `attention` works."""
        return self._reader is not None

    @property
    def reads_flat_shapes(self) -> bool:
        """Whether its regions are found by color, in drawings such as those of easy-VQA."""
        source = self._ranker or self._predictor
        return source is not None and getattr(source.extractor, "name", None) == "grid"

    def read(self, file: bytes) -> Picture:
        """Find the regions of a picture, and encode it for all questions that follow.

        Args:
            file: The contents of an image file.

        Raises:
            InputError: They are not those of an image, or nothing is found in it.
            ServerError: A server does not encode the image.
        """
        pixels = decode_image(io.BytesIO(file))
        if self._predictor is not None and self._predictor.takes_files:
            return Picture(shown_pixels(pixels), None, [], self._predictor.encode(file))
        extractor = self._extractor()
        regions = extractor.extract(pixels)
        check_found(regions, "the picture")
        encoded = None
        if self.task is Task.ANSWER and self._predictor is not None:
            encoded = self._predictor.encode_regions(regions)
        return Picture(shown_pixels(pixels), regions, region_names(extractor, regions), encoded)

    def answer(self, picture: Picture, questions: Sequence[str]) -> list[Answers]:
        """Return the best answers to each question, as `Predictor.answer_about` does."""
        assert self._predictor is not None and picture.encoded is not None
        return self._predictor.answer_about(picture.encoded, questions)

    def judge(self, left: Picture, right: Picture, statement: str) -> Answers:
        """Return the scores of "True" and "False", as `Predictor.judge` does."""
        assert self._predictor is not None
        assert left.regions is not None and right.regions is not None
        [answers] = self._predictor.judge([left.regions, right.regions], [statement])
        return answers

    def rank(self, picture: Picture, sentences: Sequence[str]) -> list[tuple[str, float]]:
        """Return the sentences, best first, as `Ranker.rank_about` does."""
        assert self._ranker is not None and picture.regions is not None
        return self._ranker.rank_about(picture.regions, sentences)

    def attention(self, picture: Picture, sentence: str) -> "AttentionMaps":
        """Return the attention between a sentence and a picture.

        Raises:
            InputError: The model is not a preset.
        """
        if self._reader is None or picture.regions is None:
            raise InputError(ATTENTION_NEEDS_PRESET)
        return self._reader.read(picture.regions, sentence)

    def warm_up(self) -> None:
        """Do the one-time work of the first picture and question, which takes seconds."""
        # Wide, so that it stays small when a detector enlarges it.
        pixels = (37 * np.arange(32 * 128 * 3) % 256).astype(np.uint8).reshape([32, 128, 3])
        try:
            picture = self.read(picture_file(pixels))
        except InputError:
            # Nothing was found in it, so a visitor's first question remains slower.
            return
        if self.task is Task.ANSWER:
            self.answer(picture, [_SENTENCE])
        elif self.task is Task.JUDGE:
            self.judge(picture, picture, _SENTENCE)
        else:
            self.rank(picture, [_SENTENCE])
        if self.shows_attention:
            self.attention(picture, _SENTENCE)

    def _extractor(self) -> RegionExtractor:
        source = self._ranker or self._predictor
        assert source is not None and source.extractor is not None
        return source.extractor


def connect(endpoint: str, name: str, extractor=None) -> PageModel:
    """Connect to a model on a server.

    Args:
        endpoint: As for `Predictor.from_endpoint`.
        name: Name of the model on the server.
        extractor: As for `Predictor.from_endpoint`.

    Raises:
        Unavailable: The server is down, so that its task is not known.
        InputError: The endpoint or the name is malformed, or the extractor is unknown.
    """
    predictor = Predictor.from_endpoint(endpoint, name, extractor)
    try:
        signatures = Client(endpoint, name).signatures()
    except Unavailable:
        raise
    except ServerError:
        # Some gateways pass on `:predict` alone. Questions are most common.
        return PageModel(Task.ANSWER, predictor)
    judges = "serving_default" in signatures and "encode_image" not in signatures
    return PageModel(Task.JUDGE if judges else Task.ANSWER, predictor)
