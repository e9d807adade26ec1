"""The scene record: what is written is read back, in Python and in the graph, or refused."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lxmert_tf.data import schema
from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.data.scene_tensors import (
    decode_regions,
    distinct_regions,
    parse_scenes,
    sentence_answers,
)
from lxmert_tf.errors import InputError
from lxmert_tf.regions.extractor import Regions
from tests.lxmert_tf.samples import easy_vqa_scenes, one_line

# Words in any script, also empty, with line ends and with zeros in them.
TEXT = st.text(max_size=12)
UNIT = st.floats(0, 1, width=32)
# Each example runs dozens of ops eagerly; shrinking a failure would take minutes.
NO_SHRINKING = (Phase.explicit, Phase.generate)


@st.composite
def region_sets(draw, size, labeled, least=1):
    count = draw(st.integers(least, 4))
    dtype = draw(st.sampled_from([np.float16, np.float32]))
    values = {"features": draw(npst.arrays(dtype, (count, size)))}
    values["boxes"] = draw(npst.arrays(np.float32, (count, 4), elements=UNIT))
    for kind in ("object", "attribute"):
        if labeled[kind]:
            values[f"{kind}_ids"] = draw(
                npst.arrays(np.int64, count, elements=st.integers(0, 1599))
            )
            values[f"{kind}_confidences"] = draw(npst.arrays(np.float32, count, elements=UNIT))
    return Regions(**values)


@st.composite
def scenes(draw, images=(1, 2), least_regions=1, size=None):
    size = draw(st.integers(1, 5)) if size is None else size
    labeled = {"object": draw(st.booleans()), "attribute": draw(st.booleans())}
    pixels = st.integers(1, 10_000)
    image = st.builds(SceneImage, TEXT, pixels, pixels, region_sets(size, labeled, least_regions))
    answers = st.lists(st.tuples(TEXT, UNIT), max_size=3).map(tuple)
    sentence = st.builds(Sentence, TEXT, TEXT, TEXT, TEXT, TEXT, answers)
    return Scene(
        tuple(draw(st.lists(image, min_size=images[0], max_size=images[1]))),
        tuple(draw(st.lists(sentence, min_size=1, max_size=3))),
    )


def assert_equal_scenes(one, other):
    assert one.sentences == other.sentences
    assert len(one.images) == len(other.images)
    for ours, theirs in zip(one.images, other.images):
        assert (ours.id, ours.height, ours.width) == (theirs.id, theirs.height, theirs.width)
        for field in dataclasses.fields(Regions):
            a, b = getattr(ours.regions, field.name), getattr(theirs.regions, field.name)
            assert (a is None) == (b is None), field.name
            if a is not None:
                assert a.dtype == b.dtype
                # Bits, so that NaN and negative zero count as what they are.
                assert (a.shape, a.tobytes()) == (b.shape, b.tobytes()), field.name


@settings(max_examples=60, derandomize=True)
@given(scenes())
def test_any_scene_comes_back_from_its_record(scene):
    serialized = schema.encode_scene(scene)
    assert schema.encode_scene(scene) == serialized
    assert_equal_scenes(schema.decode_scene(serialized), scene)


def test_real_scenes_come_back_from_their_records():
    for scene in easy_vqa_scenes(3):
        assert len(scene.sentences) > 1
        assert_equal_scenes(schema.decode_scene(schema.encode_scene(scene)), scene)
        for flat, sentence in zip(scene.flat(), scene.sentences):
            assert flat == Scene(scene.images, (sentence,))


@settings(max_examples=25, derandomize=True, phases=NO_SHRINKING)
@given(st.data(), st.sampled_from([None, 4, 7]), st.sampled_from([1, 2]))
def test_the_graph_reads_written_records(data, max_regions, images_per_scene):
    size = data.draw(st.integers(1, 5))
    images = (images_per_scene, images_per_scene)
    batch = data.draw(
        st.lists(scenes(images=images, least_regions=0, size=size), min_size=1, max_size=4)
    )
    parsed = parse_scenes(tf.constant([schema.encode_scene(scene) for scene in batch]))
    regions = decode_regions(parsed, max_regions, images_per_scene)
    written = [image.regions for scene in batch for image in scene.images]
    counts = [len(expected) for expected in written]
    most = max(counts) if max_regions is None else max_regions
    lead = (len(batch),) if images_per_scene == 1 else (len(batch), 2)
    assert regions["region_features"].shape == (*lead, most, size)
    assert regions["region_boxes"].shape == (*lead, most, 4)
    assert regions["region_mask"].shape == (*lead, most)
    # From here on image by image.
    regions = {
        name: tf.reshape(value, [len(written), *value.shape[len(lead) :]])
        for name, value in regions.items()
    }
    assert regions["region_mask"].numpy().sum(axis=1).tolist() == counts
    for i, (expected, count) in enumerate(zip(written, counts)):
        features, boxes = regions["region_features"][i], regions["region_boxes"][i]
        np.testing.assert_array_equal(features[:count], expected.features.astype(np.float32))
        np.testing.assert_array_equal(boxes[:count], expected.boxes)
        assert regions["region_mask"][i].numpy().tolist() == [1] * count + [0] * (most - count)
        # What is padded is zero, never the next image's.
        assert not features[count:].numpy().any()
        assert not boxes[count:].numpy().any()
    said = [sentence for scene in batch for sentence in scene.sentences]
    texts = parsed[schema.SENTENCE_TEXT].flat_values.numpy()
    assert [text.decode() for text in texts] == [sentence.text for sentence in said]
    answers, scores = sentence_answers(parsed)
    pairs = zip(answers.to_list(), scores.to_list())
    for (words, values), sentence in zip(pairs, said):
        assert [(w.decode(), s) for w, s in zip(words, values)] == list(sentence.answers)


def scene_with(regions: int, sentences: int = 1) -> Scene:
    values = np.arange(3.0 * regions, dtype=np.float32).reshape(regions, 3)
    image = SceneImage("i", 2, 3, Regions(values, np.full([regions, 4], 0.5, np.float32)))
    said = (Sentence(f"s{i}", "what?", answers=(("yes", 1.0),)) for i in range(sentences))
    return Scene((image,), tuple(said))


def changed(scene: Scene, name: str, values: list) -> bytes:
    """The record of a scene with other values for one feature."""
    example = tf.train.Example.FromString(schema.encode_scene(scene))
    feature = example.features.feature[name]
    kind = feature.WhichOneof("kind")
    getattr(feature, kind).value[:] = values
    return example.SerializeToString()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (schema.REGION_COUNT, [3], "regions/count does not fit the length of regions/features"),
        (schema.REGION_COUNT, [1], "regions/count does not fit the length of regions/features"),
        (schema.REGION_COUNT, [-2], "regions/count does not fit the length of regions/features"),
        (schema.FEATURES, [b"\0" * 23], "regions/count does not fit the length of regions/feat"),
        (schema.FEATURE_DTYPE, [b"float16"], "regions/count does not fit the length of regions/"),
        (schema.BOXES, [0.5] * 4, "regions/count does not fit the length of regions/boxes"),
        (schema.BOXES, [0.5] * 12, "regions/count does not fit the length of regions/boxes"),
    ],
)
def test_a_count_that_does_not_fit_is_refused_by_graph_and_python(name, values, message):
    record = changed(scene_with(regions=2), name, values)
    good = schema.encode_scene(scene_with(regions=2))
    for batch in ([record], [good, record], [record, good]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            decode_regions(parse_scenes(tf.constant(batch)))
    with pytest.raises(InputError) as raised:
        schema.decode_scene(record)
    assert "the record is not a scene" in one_line(raised)


def test_labels_of_only_some_images_are_refused_not_dropped():
    bare = Regions(np.zeros((1, 2), np.float32), np.zeros((1, 4), np.float32))
    ids, sure = np.zeros(1, np.int64), np.ones(1, np.float32)
    labeled = dataclasses.replace(bare, object_ids=ids, object_confidences=sure)
    images = [SceneImage("a", 1, 1, bare), SceneImage("b", 1, 1, labeled)]
    with pytest.raises(ValueError, match="only some images"):
        schema.encode_scene(Scene(tuple(images), (Sentence("q", "?"),)))


def test_an_image_with_more_regions_than_there_is_room_is_refused():
    records = [schema.encode_scene(scene_with(regions=count)) for count in (2, 5)]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="5 regions, more than max_regions = 4"
    ):
        decode_regions(parse_scenes(tf.constant(records)), 4)


@pytest.mark.parametrize(
    ("numbers", "wanted", "message"),
    [
        ([2], 1, "scenes of one image"),
        ([1, 2], 1, "scenes of one image"),
        ([1], 2, "scenes of 2 images"),
        ([2, 1], 2, "scenes of 2 images"),
        ([3], 2, "scenes of 2 images"),
        # As many in all as two scenes of two have.
        ([3, 1], 2, "scenes of 2 images"),
    ],
)
def test_a_scene_with_another_number_of_images_is_refused(numbers, wanted, message):
    one = scene_with(regions=2)
    batch = [Scene(one.images * number, one.sentences) for number in numbers]
    serialized = tf.constant([schema.encode_scene(scene) for scene in batch])
    read = tf.function(lambda s: decode_regions(parse_scenes(s), 3, wanted))
    for call in (read, read.python_function):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            call(serialized)


def test_counts_that_fit_together_but_not_each_image_are_refused():
    pair = Scene(scene_with(regions=2).images * 2, ())
    record = tf.constant([changed(pair, schema.REGION_COUNT, [1, 3])])
    with pytest.raises(tf.errors.InvalidArgumentError, match="the length of regions/features"):
        decode_regions(parse_scenes(record), 4, images_per_scene=2)


def test_a_record_cut_at_any_byte_is_refused():
    serialized = schema.encode_scene(scene_with(regions=1))
    for length in range(len(serialized)):
        with pytest.raises(InputError) as raised:
            schema.decode_scene(serialized[:length])
        assert "the record is not a scene" in one_line(raised)


def test_a_record_without_an_image_is_refused_by_the_graph_too():
    good = schema.encode_scene(scene_with(regions=1))
    for batch in ([b""], [good, b""], [b"", good]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_regions(parse_scenes(tf.constant(batch)))


@settings(max_examples=60, derandomize=True)
@given(st.binary(max_size=60))
def test_bytes_that_are_not_a_record_are_refused(data):
    with pytest.raises(InputError) as raised:
        schema.decode_scene(data)
    assert "the record is not a scene" in one_line(raised)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (schema.ANSWER_COUNT, [2]),
        (schema.ANSWER_COUNT, [0]),
        (schema.ANSWER_SCORE, [1.0, 0.5]),
        (schema.SENTENCE_TEXT, []),
        (schema.SENTENCE_TEXT, [b"what?", b"and this?"]),
        (schema.SENTENCE_ID, []),
        (schema.IMAGE_ID, [b"i", b"j"]),
        (schema.IMAGE_ID, [b"\xff"]),
        (schema.FEATURE_DTYPE, [b"float64"]),
        (schema.FEATURE_DTYPE, [b"int32"]),
        (schema.FEATURE_SIZE, [6]),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(name, values):
    with pytest.raises(InputError) as raised:
        schema.decode_scene(changed(scene_with(regions=2), name, values))
    assert "the record is not a scene" in one_line(raised)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, ">f4"])
def test_features_of_another_type_are_not_written(dtype):
    regions = Regions(np.zeros([2, 3], dtype), np.zeros([2, 4], np.float32))
    with pytest.raises(ValueError, match="a record holds float16 or float32"):
        schema.encode_scene(Scene((SceneImage("i", 1, 1, regions),), ()))


def test_half_precision_takes_half_the_space_and_is_read_exactly():
    scene = scene_with(regions=4)
    image = scene.images[0]
    half = dataclasses.replace(image.regions, features=image.regions.features.astype(np.float16))
    other = dataclasses.replace(scene, images=(dataclasses.replace(image, regions=half),))
    one, two = (tf.train.Example.FromString(schema.encode_scene(s)) for s in (scene, other))
    sizes = [len(e.features.feature[schema.FEATURES].bytes_list.value[0]) for e in (one, two)]
    assert sizes == [4 * 12, 2 * 12]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"features": np.zeros(3)}, r"features have shape \(3,\); they must be \[R, F\]"),
        ({"boxes": np.zeros([2, 3])}, r"boxes have shape \(2, 3\); they must be \[2, 4\]"),
        ({"object_ids": np.zeros(2)}, "object_ids and object_confidences must be given together"),
        (
            {"attribute_ids": np.zeros(3), "attribute_confidences": np.zeros(2)},
            r"attribute_ids and attribute_confidences must have shape \[2\]",
        ),
    ],
)
def test_regions_whose_shapes_do_not_belong_together_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Regions(**{"features": np.zeros([2, 3]), "boxes": np.zeros([2, 4]), **values})


def test_scenes_with_the_same_regions_are_found():
    random = np.random.default_rng(0)
    features = random.normal(size=[2, 3]).astype(np.float32)
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], np.float32)
    # The closest that float32 has, which differ in no printed digit.
    near = np.nextafter(boxes, np.float32(2))
    regions = [
        Regions(features, boxes),
        Regions(features, near),
        Regions(features, boxes),
        Regions(features[::-1], boxes),
        Regions(features[:1], boxes[:1]),
        Regions(features[:1], boxes[:1]),
    ]
    # Names of images do not matter: two data sets may have the same.
    scenes = [
        Scene((SceneImage("a", 1, 1, of),), (Sentence(str(i), "?"),))
        for i, of in enumerate(regions)
    ]
    parsed = parse_scenes([schema.encode_scene(scene) for scene in scenes])
    first, index = distinct_regions(parsed)
    assert first.numpy().tolist() == [0, 1, 3, 4]
    assert index.numpy().tolist() == [0, 1, 0, 2, 3, 3]
