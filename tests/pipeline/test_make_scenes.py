"""The joins: whatever falls under one id comes out once, in a scene or as a reject."""

from hypothesis import given
from hypothesis import strategies as st

from lxmert_tf.data.scene import Sentence
from pipeline.ingest import scenes
from pipeline.ingest.region_store import Place
from pipeline.ingest.scenes import REJECT, SCENE, make_pair, make_scene, make_sides, never_shown

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
sentences = st.lists(
    st.builds(Sentence, st.integers(0, 10**6).map(str), texts),
    max_size=6,
    unique_by=lambda sentence: sentence.id,
)


def place(number):
    return Place("store", 10 * number, 10, (0, number), "regions.tsv", 0, 4)


def said(given_sentences, image_ids=("i",)):
    return [
        scenes.Said(image_ids, sentence, "said.json", number).packed()
        for number, sentence in enumerate(given_sentences, start=1)
    ]


@given(st.integers(0, 3), sentences, st.booleans())
def test_nothing_is_lost_and_nothing_is_doubled(images, given_sentences, complete):
    # The image that comes first in the file is not the one that comes first here.
    places = [place(number) for number in reversed(range(images))]
    group = ("i", {"places": places, "said": said(given_sentences)})
    made = list(make_scene(group, complete))
    written = [scenes.unpacked_scene(value) for tag, value in made if tag == SCENE]
    rejects = [value for tag, value in made if tag == REJECT]
    assert len(written) + len(rejects) == len(made)
    kinds = sorted(reject.kind for reject in rejects)
    if images and given_sentences:
        [scene] = written
        assert scene.places == (place(0),)
        assert list(scene.sentences) == sorted(given_sentences, key=lambda s: int(s.id))
        assert kinds == ["image"] * (images - 1)
        assert sorted(reject.line for reject in rejects) == list(range(1, images))
    else:
        assert not written
        # In a trial with few images, sentences about the others are not told of.
        told = given_sentences if complete else []
        assert kinds == ["image"] * images + ["sentence"] * len(told)


@given(sentences, st.randoms())
def test_order_of_arrival_plays_no_part(given_sentences, random):
    arrived = said(given_sentences)
    shuffled = random.sample(arrived, len(arrived))
    one, other = (
        [value for _, value in make_scene(("i", {"places": [place(0)], "said": s}), True)]
        for s in (arrived, shuffled)
    )
    assert one == other


@given(sentences, st.sets(st.sampled_from(["a", "b"])), st.booleans())
def test_a_pair_needs_both_images(given_sentences, there, same_twice):
    key = ("a", "a") if same_twice else ("a", "b")
    made = []
    for number, image_id in enumerate(dict.fromkeys(key)):
        places = [place(number)] if image_id in there else []
        made += make_sides((image_id, {"places": places, "said": said(given_sentences, key)}))
    sides = [value for tag, value in made if tag == scenes._SIDE]
    assert {scene_key for scene_key, _ in sides} == ({key} if given_sentences else set())
    pairs = list(make_pair((key, [side for _, side in sides]), True)) if sides else []
    shown = [value for tag, value in pairs if tag == scenes._SHOWN]
    pairs = [(tag, value) for tag, value in pairs if tag != scenes._SHOWN]
    if not given_sentences:
        assert not pairs
    elif set(key) <= there:
        [(tag, packed)] = pairs
        scene = scenes.unpacked_scene(packed)
        assert (tag, scene.key, len(scene.places)) == (SCENE, key, 2)
        assert [p.offset // 10 for p in scene.places] == ([0, 0] if same_twice else [0, 1])
        assert list(scene.sentences) == sorted(given_sentences, key=lambda s: int(s.id))
    else:
        assert [value.kind for _, value in pairs] == ["sentence"] * len(given_sentences)
        assert {value.image for _, value in pairs} <= set(key) - there
        assert {image_id for image_id, _ in shown} == set(key) & there
        for image_id, place_of_image in shown:
            [(tag, reject)] = never_shown((image_id, [place_of_image]))
            assert (tag, reject.kind, reject.id) == (REJECT, "image", image_id)
            assert not list(never_shown((image_id, [place_of_image, (True, place(0))])))


def test_lines_are_counted_through_the_units_of_a_file():
    from pipeline.ingest.parsers import text_rows
    from pipeline.ingest.parsers.text_rows import absolute_lines

    units = [
        text_rows.ShardLines("a", 100, 7),
        text_rows.ShardLines("a", 0, 5),
        text_rows.ShardLines("b", 0, 3),
        text_rows.ShardLines("a", 200, 1),
    ]
    assert absolute_lines(units) == {("a", 0): 0, ("a", 100): 5, ("a", 200): 12, ("b", 0): 0}
