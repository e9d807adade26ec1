"""easy-VQA: 5,000 images of one shape each and questions about it (PyPI package easy-vqa)."""

import importlib.metadata
from collections.abc import Iterable

from lxmert_tf.data.scene import Sentence
from lxmert_tf.errors import InputError
from pipeline.ingest.readers.data_set import DataSet, ImageFile


class EasyVqa(DataSet):
    """The train and test splits of the package; every question has one answer, with score 1."""

    name = "easy_vqa"
    splits = ("train", "test")

    def images(self, split: str) -> Iterable[ImageFile]:
        paths = getattr(_package(), f"get_{split}_image_paths")()
        return [ImageFile(f"{split}-{number}", paths[number]) for number in sorted(paths)]

    def sentences(self, split: str) -> Iterable[tuple[str, Sentence]]:
        columns = getattr(_package(), f"get_{split}_questions")()
        for number, (question, answer, image) in enumerate(zip(*columns)):
            yield (
                f"{split}-{image}",
                Sentence(
                    id=f"{split}-{number}",
                    text=question,
                    source=self.name,
                    question_type=question_type(question),
                    answer_type="yes/no" if answer in ("yes", "no") else "other",
                    answers=((answer, 1.0),),
                ),
            )

    def fingerprint(self) -> str:
        _package()
        return f"easy-vqa {importlib.metadata.version('easy-vqa')}"


def question_type(question: str) -> str:
    """Return what a question asks for: `color`, `shape`, `presence` or `absence`."""
    words = question.rstrip("?").split()
    if words[0] == "what":
        return "color" if "color" in words else "shape"
    return "absence" if {"no", "not"} & set(words) else "presence"


def _package():
    try:
        import easy_vqa
    except ModuleNotFoundError as error:
        raise InputError(
            "the data set easy_vqa is not installed; run: pip install 'lxmert-tf[demo]'"
        ) from error
    return easy_vqa
