"""Bucketed batches of pairs: exact counts, exact resumption, bounded memory, workers and caches."""

import collections
import dataclasses
import itertools
import resource

import numpy as np
import pytest
import tensorflow as tf

from lxmert_tf import LxmertTextPreprocessor
from lxmert_tf.data.batches import answer_batches, example_batches, read_records
from lxmert_tf.data.scene import Scene, SceneImage, Sentence
from lxmert_tf.data.schema import encode_scene
from lxmert_tf.models.text_preprocessor import SPECIAL_PIECES
from lxmert_tf.regions.extractor import Regions
from tests.lxmert_tf.samples import easy_vqa_scenes

SCENES = easy_vqa_scenes(150)
PICTURE_OF = {s.id: scene.images[0] for scene in SCENES for s in scene.sentences}
MAX_REGIONS = 8


def write(path, scenes) -> str:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for scene in scenes:
            writer.write(encode_scene(scene))
    return str(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("records") / "scenes.tfrecord", SCENES)


def batches(file, batch_size=32, seed=1, epoch=0, **how) -> tf.data.Dataset:
    records = read_records([file])
    return example_batches(
        records, batch_size, MAX_REGIONS, seed, epoch, bucket_by_length=True, **how
    )


def ids(dataset) -> list[list[str]]:
    return [[name.decode() for name in batch["id"].numpy()] for batch in dataset]


def padded(file, bucket_by_length) -> float:
    """Padded tokens per token."""
    words = sorted({w for s in SCENES for x in s.sentences for w in x.text.rstrip("?").split()})
    preprocessor = LxmertTextPreprocessor([*SPECIAL_PIECES, *words, "?"], 20, pad_to_longest=True)
    pairs = example_batches(
        read_records([file]), 32, MAX_REGIONS, 1, bucket_by_length=bucket_by_length
    )
    masks = [
        inputs["padding_mask"].numpy() for inputs, _ in answer_batches(pairs, preprocessor, ["yes"])
    ]
    return sum(mask.size for mask in masks) / sum(mask.sum() for mask in masks) - 1


def test_buckets_save_padding(file):
    assert padded(file, True) < 0.5 * padded(file, False)


@pytest.mark.parametrize("batch_size", [32, 100, 2000])
def test_every_sentence_comes_once_in_full_batches_with_its_picture(file, batch_size):
    seen, sizes = collections.Counter(), []
    for batch in batches(file, batch_size):
        sizes.append(len(batch["id"]))
        for name, image, features in zip(
            batch["id"].numpy(), batch["image_id"].numpy(), batch["region_features"].numpy()
        ):
            seen[name.decode()] += 1
            picture = PICTURE_OF[name.decode()]
            assert picture.id == image.decode()
            np.testing.assert_array_equal(
                features[: len(picture.regions)], picture.regions.features
            )
    assert seen == collections.Counter(PICTURE_OF.keys())
    rest = len(PICTURE_OF) % batch_size
    assert sizes == [batch_size] * (len(PICTURE_OF) // batch_size) + [rest] * (rest > 0)


def test_the_order_hangs_on_seed_and_epoch_not_on_threads(file):
    def with_threads(count):
        options = tf.data.Options()
        options.threading.private_threadpool_size = count
        return ids(batches(file).with_options(options))

    first = with_threads(1)
    assert with_threads(8) == first
    assert ids(batches(file, epoch=1)) != first
    assert ids(batches(file, seed=2)) != first


def test_an_epoch_goes_on_where_it_stopped(file):
    whole = ids(batches(file))
    for done in (0, 1, 7, len(whole) - 1, len(whole)):
        assert ids(batches(file).skip(done)) == whole[done:]


def test_what_is_cached_or_saved_is_the_same(file, tmp_path):
    def content(dataset):
        # RaggedTensors as lists, the others as arrays.
        return [
            {
                name: value.to_list() if isinstance(value, tf.RaggedTensor) else value.numpy()
                for name, value in batch.items()
            }
            for batch in dataset
        ]

    expected = content(batches(file))
    cached = batches(file).cache(str(tmp_path / "cache"))
    list(cached)
    batches(file).save(str(tmp_path / "saved"))
    for other in (cached, tf.data.Dataset.load(str(tmp_path / "saved"))):
        read = content(other)
        assert len(read) == len(expected)
        for a, b in zip(read, expected):
            for name in b:
                np.testing.assert_equal(a[name], b[name])


@pytest.mark.parametrize("workers", [2, 3])
def test_of_sharded_records_each_sentence_comes_to_one_worker(file, workers):
    parts = []
    for worker in range(workers):
        records = read_records([file]).shard(workers, worker)
        pairs = example_batches(records, 32, MAX_REGIONS, 1, bucket_by_length=True)
        parts.append(list(itertools.chain(*ids(pairs))))
    assert all(parts)
    assert sorted(itertools.chain(*parts)) == sorted(PICTURE_OF)


def test_memory_holds_images_not_their_copies_for_each_sentence(tmp_path):
    # 12,800 sentences with 128 KB of float32 features each: 1.6 GB if they were held at once.
    regions = Regions(np.ones([16, 2048], np.float16), np.zeros([16, 4], np.float32))
    scenes = [
        Scene(
            (SceneImage(str(number), 4, 4, regions),),
            tuple(Sentence(f"{number}-{i}", "so many words " * (i % 5)) for i in range(200)),
        )
        for number in range(64)
    ]
    file = write(tmp_path / "many.tfrecord", scenes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = 0
    records = read_records([file])
    for batch in example_batches(records, 32, 16, 1, bucket_by_length=True):
        count += len(batch["id"])
    assert count == 12_800
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (peak - before) * 1024 < 500e6


def test_two_images_a_scene_are_bucketed_too(tmp_path):
    scenes = [
        dataclasses.replace(scene, images=scene.images + other.images)
        for scene, other in zip(SCENES[:20], SCENES[20:40])
    ]
    file = write(tmp_path / "pairs.tfrecord", scenes)
    read = list(batches(file, images_per_scene=2))
    assert sorted(itertools.chain(*ids(read))) == sorted(s.id for x in scenes for s in x.sentences)
    assert read[0]["image_id"].shape == (32, 2)
