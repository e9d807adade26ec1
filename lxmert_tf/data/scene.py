"""Scenes: an image (two for NLVR2) with all sentences about it."""

import dataclasses

from lxmert_tf.regions.extractor import Regions


@dataclasses.dataclass(frozen=True)
class SceneImage:
    """An image, represented by its regions.

    Args:
        id: Unique in the dataset.
        height: In pixels.
        width: In pixels.
        regions: With features in float16 or float32; the record keeps the type.
    """

    id: str
    height: int
    width: int
    regions: Regions


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A caption, question or statement about a scene.

    Args:
        id: Unique in the dataset.
        text: The sentence.
        source: The dataset that it comes from, for example "easy_vqa".
        question_type: Metrics are sliced by it; may be empty.
        answer_type: Metrics are sliced by it; may be empty.
        answers: (answer, soft score in 0..1) tuples; none for a caption or a test question.
    """

    id: str
    text: str
    source: str = ""
    question_type: str = ""
    answer_type: str = ""
    answers: tuple[tuple[str, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Scene:
    """The content of one record. In the flat layout every scene has one sentence.

    Args:
        images: One, or two for NLVR2.
        sentences: About the image, or about both.
    """

    images: tuple[SceneImage, ...]
    sentences: tuple[Sentence, ...]

    def flat(self) -> list["Scene"]:
        """Return one scene per sentence, each with all images."""
        return [Scene(self.images, (sentence,)) for sentence in self.sentences]
