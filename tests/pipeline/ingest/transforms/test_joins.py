"""The joins of ingestion lose nothing and double nothing."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf.data.scene import Sentence
from pipeline.ingest.elements import (
    BY_NUMBER,
    UNUSED,
    AnnotatedSentence,
    JoinedScene,
    ReadCount,
    Reject,
)
from pipeline.ingest.region_store import RegionRef
from pipeline.ingest.transforms.join_by_image import ImageGroup, make_image_groups
from pipeline.ingest.transforms.make_pairs import (
    ImageSide,
    ImageUse,
    make_pair,
    reject_unused,
    split_sides,
)
from pipeline.ingest.transforms.make_scenes import make_scene
from pipeline.ingest.transforms.read_sentences import keep_first

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
sentences = st.lists(
    st.builds(Sentence, st.integers(0, 10**6).map(str), texts),
    max_size=6,
    unique_by=lambda sentence: sentence.id,
)


def ref(line, image_id="i"):
    return RegionRef(image_id, "store", 10 * line, 10, 4, "regions.tsv", 0, line, 0, image_id)


TRAITS = {("feature size", 4): 9}


def group(regions, given_sentences, image_ids=("i",), image_id="i"):
    annotated = [
        AnnotatedSentence(image_ids, sentence, "sentences.json", number)
        for number, sentence in enumerate(given_sentences, start=1)
    ]
    grouped = {"regions": regions, "sentences": annotated}
    [made, *_] = [*make_image_groups(image_id, grouped, TRAITS), ImageGroup(image_id, [], [], ())]
    return made


def of_kind(kind, elements):
    return [element for element in elements if isinstance(element, kind)]


@given(st.integers(0, 3), sentences, st.booleans())
def test_nothing_is_lost_and_nothing_is_doubled(images, given_sentences, complete):
    # The image that comes first in the file is not the one that comes first here.
    regions = [ref(line) for line in reversed(range(images))]
    made = list(make_scene(group(regions, given_sentences), complete))
    written, rejects = of_kind(JoinedScene, made), of_kind(Reject, made)
    unused = of_kind(ReadCount, made)
    assert len(written) + len(rejects) + len(unused) == len(made)
    assert unused == ([ReadCount(UNUSED, 1, "i")] if images and not given_sentences else [])
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
        assert kinds == ["image"] * max(images - 1, 0) + ["sentence"] * len(rejected)


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


def annotated(*image_ids, line=1, file="q.json", sentence_id=None):
    return AnnotatedSentence(image_ids, Sentence(sentence_id or f"s{line}", "what?"), file, line)


def test_a_group_has_all_names_of_its_image():
    asked = [annotated("v/1.png"), annotated("w/1", line=2), annotated("1", line=3)]
    regions = [ref(1, "v/1"), ref(2, "x/1"), ref(3, "v/1")]
    groups = {
        group.image_id: group
        for group in make_image_groups("1", {"regions": regions, "sentences": asked}, TRAITS)
    }
    assert {name: len(group.sentences) for name, group in groups.items()} == {
        "v/1": 1,
        "x/1": 0,
        "w/1": 1,
        "1": 1,
    }
    made = [element for group in groups.values() for element in make_scene(group, True)]
    assert [scene.image_ids for scene in of_kind(JoinedScene, made)] == [("v/1",)]
    assert of_kind(ReadCount, made) == [ReadCount(UNUSED, 1, "x/1")]
    assert {(r.id, r.reason, r.image) for r in of_kind(Reject, made)} == {
        ("v/1", "duplicate image id", ""),
        ("s2", "its image is missing", "w/1"),
        ("s3", "the name of its image is ambiguous", "1"),
    }


@pytest.mark.parametrize("numberings", [("bare",), ("bare", "prefix")])
def test_numbers_match_unless_images_are_numbered_in_several_ways(numberings):
    traits = {**TRAITS, **{("numbering", numbering): 5 for numbering in numberings}}
    name = "COCO_val2014_000000000009"
    grouped = {"regions": [ref(1, "9")], "sentences": [annotated(name)]}
    made = [e for g in make_image_groups("9", grouped, traits) for e in make_scene(g, True)]
    if len(numberings) == 1:
        assert of_kind(ReadCount, made) == [ReadCount(BY_NUMBER, 1)]
        assert [scene.image_ids for scene in of_kind(JoinedScene, made)] == [("9",)]
    else:
        assert [r.reason for r in of_kind(Reject, made)] == ["its image is missing"]
        assert of_kind(ReadCount, made) == [ReadCount(UNUSED, 1, "9")]


def test_two_names_of_one_image_make_a_pair():
    grouped = {"regions": [ref(1, "a")], "sentences": [annotated("a.png", "a")]}
    [group] = make_image_groups("a", grouped, TRAITS)
    sides = of_kind(ImageSide, split_sides(group))
    [scene] = of_kind(JoinedScene, make_pair(("a.png", "a"), sides))
    assert scene.image_ids == ("a", "a")


def test_an_image_with_features_of_another_size_is_rejected():
    odd = ref(2, "b")._replace(feature_size=5)
    [reject, group] = make_image_groups(
        "b", {"regions": [odd, ref(1, "b")], "sentences": []}, TRAITS
    )
    assert reject.reason == "its features have another size than those of most images"
    assert [r.line for r in group.regions] == [1]


@given(st.permutations([("b", 1), ("a", 7), ("a", 2)]))
def test_the_first_sentence_with_an_id_is_kept(places):
    same = [annotated("i", file=file, line=line, sentence_id="1") for file, line in places]
    first, *others = keep_first("1", same)
    assert (first.file, first.line) == ("a", 2)
    assert [(r.kind, r.id, r.file, r.line) for r in others] == [
        ("sentence", "1", "a", 7),
        ("sentence", "1", "b", 1),
    ]
    assert {r.reason for r in others} == {"duplicate sentence id"}


@given(sentences)
def test_sentences_survive_pickling(given_sentences):
    for annotated in group([], given_sentences).sentences:
        assert pickle.loads(pickle.dumps(annotated)) == annotated
