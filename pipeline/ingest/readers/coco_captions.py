"""The published captions of MS COCO (Lin et al. 2014, cocodataset.org)."""

import dataclasses
import pathlib
from collections.abc import Iterator

from pydantic import TypeAdapter

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.checks.annotation_fields import Id, SentenceText, validate_items
from pipeline.ingest.files import InputFile
from pipeline.ingest.interfaces import ReadError, ReadSentence, SentenceReader
from pipeline.ingest.parsers.json_items import Item, read_list


class CocoCaptions(SentenceReader):
    """captions_*.json: {images: [{id, file_name}], annotations: [{id, image_id, caption}], ...}.

    Image ids are the names of the image files without suffix, as in region files:
    COCO_val2014_000000391895 in 2014, 000000391895 in 2017. The id of a sentence is "caption-" and
    the number of the caption, because question ids of VQA are numbers too.

    The file is read twice, first for the names of the images, which are kept in memory (about
    0.2 KB each).
    """

    name = "coco_captions"

    def read(self, file: InputFile) -> Iterator[ReadSentence | ReadError]:
        names: dict[str, str] = {}
        for item in validate_items(read_list(file, "images"), _IMAGE, "id"):
            if isinstance(item, Item):
                names[item.value.id] = pathlib.PurePosixPath(item.value.file_name).stem
        for item in validate_items(read_list(file, "annotations"), _CAPTION, "id"):
            yield item if isinstance(item, ReadError) else self._sentence(item, names)

    def _sentence(self, item: Item, names: dict[str, str]) -> ReadSentence | ReadError:
        caption: _Caption = item.value
        if caption.image_id not in names:
            return ReadError(item.number, caption.id, "the file does not name its image")
        sentence = Sentence(f"caption-{caption.id}", caption.caption, source="mscoco")
        return ReadSentence((names[caption.image_id],), sentence)


@dataclasses.dataclass(frozen=True)
class _Image:
    id: Id
    file_name: Id


@dataclasses.dataclass(frozen=True)
class _Caption:
    id: Id
    image_id: Id
    caption: SentenceText


_IMAGE = TypeAdapter(_Image)
_CAPTION = TypeAdapter(_Caption)
