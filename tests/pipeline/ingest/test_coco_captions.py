"""MS COCO's captions."""

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.interfaces import ReadSentence
from tests.pipeline.ingest.annotations import content_of, problems, read_content, sentences


def test_images_are_named_as_their_files(tmp_path):
    first, second, _ = read_content("coco_captions", tmp_path, content_of("coco_captions"))
    sentence = Sentence("caption-770337", "A man with a red helmet.", "mscoco")
    assert first == ReadSentence(("COCO_val2014_000000391895",), sentence)
    # The files of 2017.
    assert second.image_ids == ("000000522418",)


def test_the_order_of_the_parts_does_not_matter(tmp_path):
    content = content_of("coco_captions")
    turned = dict(reversed(content.items()))
    expected = read_content("coco_captions", tmp_path, content)
    assert read_content("coco_captions", tmp_path, turned) == expected


def test_a_broken_image_costs_its_captions(tmp_path):
    content = content_of("coco_captions")
    del content["images"][0]["file_name"]
    items = read_content("coco_captions", tmp_path, content)
    reason = "the file does not name its image"
    assert problems(items) == [(1, "770337", reason), (3, "771687", reason)]
    assert len(sentences(items)) == 1
