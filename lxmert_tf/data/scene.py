"""A scene: one image (two for NLVR2) and everything that is said about it."""

import dataclasses

from lxmert_tf.regions.extractor import Regions


@dataclasses.dataclass(frozen=True)
class SceneImage:
    """An image by its regions.

    Args:
        id: unique in the data set.
        height, width: in pixels.
        regions: with features float16 or float32, which the record keeps.
    """

    id: str
    height: int
    width: int
    regions: Regions


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A caption, question or statement about a scene.

    Args:
        id: unique in the data set.
        text: the words.
        source: where it comes from, for example "easy_vqa".
        question_type, answer_type: what metrics are sliced by; may be empty.
        answers: (answer, soft score in 0..1) pairs; none for a caption or a test question.
    """

    id: str
    text: str
    source: str = ""
    question_type: str = ""
    answer_type: str = ""
    answers: tuple[tuple[str, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Scene:
    """One record: images and sentences. A scene with one sentence is the flat layout."""

    images: tuple[SceneImage, ...]
    sentences: tuple[Sentence, ...]

    def flat(self) -> list["Scene"]:
        """One scene per sentence, each with all the images."""
        return [Scene(self.images, (sentence,)) for sentence in self.sentences]
