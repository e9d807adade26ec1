"""The join: whatever falls under one image id comes out once, as a record or as a reject."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf.data.scene import SceneImage, Sentence
from lxmert_tf.data.schema import decode_scene
from lxmert_tf.regions.extractor import Regions
from pipeline.ingest.scenes import RECORD, make_records

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
answers = st.lists(st.tuples(texts, st.floats(0, 1, width=32)), max_size=3).map(tuple)
sentences = st.lists(
    st.builds(Sentence, st.integers(0, 10**6).map(str), texts, texts, texts, texts, answers),
    max_size=6,
    unique_by=lambda sentence: sentence.id,
)


def image(number):
    regions = Regions(np.full((2, 3), number, np.float16), np.zeros((2, 4), np.float32))
    return SceneImage("i", 4, 5, regions)


@given(st.integers(0, 3), sentences, st.integers(0, 6), st.sampled_from(["grouped", "flat"]))
def test_nothing_is_lost_and_nothing_is_doubled(images, given_sentences, cut, layout):
    # Sentences reach the join in several lists.
    parts = [given_sentences[:cut], given_sentences[cut:]]
    group = ("i", {"images": [image(n) for n in range(images)], "sentences": parts})
    made = list(make_records(group, layout))
    records = [value for tag, value in made if tag == RECORD]
    rejects = [value for tag, value in made if tag != RECORD]
    written = [s for record in records for s in decode_scene(record.serialized).sentences]
    by_number = sorted(given_sentences, key=lambda sentence: int(sentence.id))
    if images and given_sentences:
        assert written == by_number
        assert len(records) == (1 if layout == "grouped" else len(by_number))
        assert [record.sentences for record in records] == (
            [len(by_number)] if layout == "grouped" else [1] * len(by_number)
        )
        # The first image of that id is taken.
        assert not decode_scene(records[0].serialized).images[0].regions.features.any()
        assert [reject["kind"] for reject in rejects] == ["image"] * (images - 1)
    else:
        assert records == []
        kinds = ["image"] * images + ["sentence"] * len(given_sentences)
        assert sorted(reject["kind"] for reject in rejects) == kinds


@given(sentences, st.randoms())
def test_order_of_arrival_plays_no_part(given_sentences, random):
    shuffled = random.sample(given_sentences, len(given_sentences))
    one, other = (
        list(make_records(("i", {"images": [image(0)], "sentences": [s]}), "grouped"))
        for s in (given_sentences, shuffled)
    )
    assert one == other
