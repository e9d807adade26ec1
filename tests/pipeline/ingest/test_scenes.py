"""The Beam functions of ingestion: joins lose and double nothing, answers are kept or rejected."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.data.answer_table import normalize_answer
from lxmert_tf.data.scene import Sentence
from pipeline.ingest.region_store import RegionRef
from pipeline.ingest.scenes import (
    AnnotatedSentence,
    ImageSide,
    ImageUse,
    JoinedScene,
    Reject,
    keep_answers,
    make_image_group,
    make_pair,
    make_scene,
    reject_unused,
    split_sides,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
sentences = st.lists(
    st.builds(Sentence, st.integers(0, 10**6).map(str), texts),
    max_size=6,
    unique_by=lambda sentence: sentence.id,
)


def ref(line, image_id="i"):
    return RegionRef(image_id, "store", 10 * line, 10, 4, "regions.tsv", 0, line, 0)


def group(regions, given_sentences, image_ids=("i",), image_id="i"):
    annotated = [
        AnnotatedSentence(image_ids, sentence, "sentences.json", number)
        for number, sentence in enumerate(given_sentences, start=1)
    ]
    return make_image_group(image_id, {"regions": regions, "sentences": annotated})


def of_kind(kind, elements):
    return [element for element in elements if isinstance(element, kind)]


@given(st.integers(0, 3), sentences, st.booleans())
def test_nothing_is_lost_and_nothing_is_doubled(images, given_sentences, complete):
    # The image that comes first in the file is not the one that comes first here.
    regions = [ref(line) for line in reversed(range(images))]
    made = list(make_scene(group(regions, given_sentences), complete))
    written, rejects = of_kind(JoinedScene, made), of_kind(Reject, made)
    assert len(written) + len(rejects) == len(made)
    kinds = sorted(reject.kind for reject in rejects)
    if images and given_sentences:
        [scene] = written
        assert scene.regions == (ref(0),)
        assert list(scene.sentences) == sorted(given_sentences, key=lambda s: int(s.id))
        assert kinds == ["image"] * (images - 1)
        assert sorted(reject.line for reject in rejects) == list(range(1, images))
    else:
        assert not written
        # A trial of a few images does not reject sentences about other images.
        rejected = given_sentences if complete else []
        assert kinds == ["image"] * images + ["sentence"] * len(rejected)


@given(sentences, st.randoms())
def test_order_of_arrival_plays_no_part(given_sentences, random):
    one = group([ref(0)], given_sentences)
    other = one._replace(sentences=random.sample(one.sentences, len(one.sentences)))
    assert of_kind(JoinedScene, make_scene(one, True)) == of_kind(
        JoinedScene, make_scene(other, True)
    )


@given(sentences, st.sets(st.sampled_from(["a", "b"])), st.booleans())
def test_a_pair_needs_both_images(given_sentences, present, same_twice):
    image_ids = ("a", "a") if same_twice else ("a", "b")
    made = []
    for number, image_id in enumerate(dict.fromkeys(image_ids)):
        regions = [ref(number, image_id)] if image_id in present else []
        made += split_sides(group(regions, given_sentences, image_ids, image_id))
    sides = of_kind(ImageSide, made)
    assert {side.image_ids for side in sides} == ({image_ids} if given_sentences else set())
    made = list(make_pair(image_ids, sides, True)) if sides else []
    uses = of_kind(ImageUse, made)
    pairs = [element for element in made if not isinstance(element, ImageUse)]
    if not given_sentences:
        assert not pairs
    elif set(image_ids) <= present:
        [scene] = pairs
        assert (scene.image_ids, len(scene.regions)) == (image_ids, 2)
        assert [r.line for r in scene.regions] == ([0, 0] if same_twice else [0, 1])
        assert list(scene.sentences) == sorted(given_sentences, key=lambda s: int(s.id))
    else:
        assert [reject.kind for reject in pairs] == ["sentence"] * len(given_sentences)
        assert {reject.image for reject in pairs} <= set(image_ids) - present
        assert {use.regions.image_id for use in uses} == set(image_ids) & present
        for use in uses:
            [reject] = reject_unused(use.regions.image_id, [use])
            assert (reject.kind, reject.id) == ("image", use.regions.image_id)
            used = ImageUse(use.regions, True)
            assert not list(reject_unused(use.regions.image_id, [use, used]))


@given(sentences)
def test_sentences_survive_pickling(given_sentences):
    for annotated in group([], given_sentences).sentences:
        assert pickle.loads(pickle.dumps(annotated)) == annotated


def test_lines_are_counted_through_the_units_of_a_file():
    from pipeline.ingest.parsers.text_rows import ShardLines, lines_before

    shards = [
        ShardLines("a", 100, 7),
        ShardLines("a", 0, 5),
        ShardLines("b", 0, 3),
        ShardLines("a", 200, 1),
    ]
    assert lines_before(shards) == {("a", 0): 0, ("a", 100): 5, ("a", 200): 12, ("b", 0): 0}


ANSWERS = st.lists(
    st.tuples(st.sampled_from(["a cup", "cup", "Two", "2", "", "grey."]), st.floats(0, 1))
)


def asked(*answers) -> Sentence:
    return Sentence("1", "what?", "vqa", "what", "other", answers)


@pytest.mark.parametrize(
    ("table", "normalize", "kept", "left_out"),
    [
        (None, False, (("A cup.", 0.3), ("cup", 0.9), ("mug", 0.6)), []),
        (None, True, (("cup", 0.9), ("mug", 0.6)), []),
        ({"cup"}, False, (("cup", 0.9),), ["A cup.", "mug"]),
        ({"cup"}, True, (("cup", 0.9),), ["mug"]),
        (set(), True, (), ["cup", "mug"]),
    ],
)
def test_known_cases(table, normalize, kept, left_out):
    sentence = asked(("A cup.", 0.3), ("cup", 0.9), ("mug", 0.6))
    assert keep_answers(sentence, table, normalize) == (asked(*kept), left_out)


@settings(derandomize=True)
@given(ANSWERS, st.none() | st.sets(st.sampled_from(["cup", "2", ""])), st.booleans())
def test_every_answer_is_kept_or_reported(answers, table, normalize):
    sentence, left_out = keep_answers(asked(*answers), table, normalize)
    spelled = [(normalize_answer(a) if normalize else a, score) for a, score in answers]
    kept = dict(sentence.answers)
    assert len(kept) == len(sentence.answers)
    assert {*kept, *left_out} == {answer for answer, _ in spelled}
    assert not set(kept) & set(left_out)
    assert table is None or set(kept) <= table
    for answer, score in kept.items():
        assert score == max(other for name, other in spelled if name == answer)
    assert keep_answers(sentence, table, normalize) == (sentence, [])
