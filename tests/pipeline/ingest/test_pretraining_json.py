"""The release's pre-training files."""

import pytest

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.interfaces import ReadSentence
from tests.pipeline.ingest.annotations import content_of, problems, read_content, sentences

IMAGE = "COCO_train2014_000000318550"


def test_sentences_have_their_labels(tmp_path):
    items = read_content("pretraining", tmp_path, content_of("pretraining"))[:4]
    assert items == [
        ReadSentence((IMAGE,), sentence)
        for sentence in (
            Sentence(f"{IMAGE}-mscoco-0", "A very clean bathroom", "mscoco"),
            Sentence(f"{IMAGE}-mscoco-1", "A blue and white bathroom.", "mscoco"),
            Sentence(f"{IMAGE}-vqa-0", "Is the sink full of water?", "vqa", answers=(("no", 1.0),)),
            Sentence(
                f"{IMAGE}-vqa-1",
                "What color are the walls?",
                "vqa",
                answers=(("blue", 1.0), ("blue and white", 0.3)),
            ),
        )
    ]


def read_first(tmp_path, **fields):
    content = content_of("pretraining")
    content[0] |= fields
    return read_content("pretraining", tmp_path, content)


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (None, "labelf must be an object"),
        ({"no": 2}, "a value of labelf must be at most 1"),
        ({"a\nb": 1}, "labelf has a control character in it"),
    ],
)
def test_a_wrong_label_costs_its_sentence(tmp_path, label, reason):
    items = read_first(tmp_path, labelf={"vqa": [{"no": 1}, label]})
    assert problems(items) == [(1, f"{IMAGE}-vqa-1", reason)]
    assert len(sentences(items)) == 11


def test_labels_that_do_not_fit_their_sentences(tmp_path):
    items = read_first(tmp_path, labelf={"vqa": [{"no": 1}]})
    assert [item_id for _, item_id, _ in problems(items)] == [f"{IMAGE}-vqa-0", f"{IMAGE}-vqa-1"]
    assert len({reason for *_, reason in problems(items)}) == 1
    assert len(sentences(items)) == 10


def test_an_empty_list_of_labels_does_not_fit(tmp_path):
    assert len(problems(read_first(tmp_path, labelf={"vqa": []}))) == 2


def test_labels_of_a_source_without_sentences(tmp_path):
    items = read_first(tmp_path, labelf={"gqa": [{"no": 1}]})
    assert problems(items) == [(1, f"{IMAGE}-gqa", "labelf has a source that sentf lacks")]
    assert len(sentences(items)) == 12


def test_images_with_captions_alone(tmp_path):
    content = [{"img_id": 7, "sentf": {"vg": ["a dog", "a cat"], "vqa": []}}]
    items = read_content("pretraining", tmp_path, content)
    assert [(item.image_ids, item.sentence.id) for item in items] == [
        (("7",), "7-vg-0"),
        (("7",), "7-vg-1"),
    ]
