"""Fixtures of the tests of serving: the tiny model, loaded in every form."""

import easy_vqa
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (the SavedModel has its ops)

from lxmert_tf import LxmertAnswerClassifier
from lxmert_tf.data import schema
from lxmert_tf.data.batches import find_records, read_records
from lxmert_tf.data.scene_tensors import decode_regions, parse_scenes
from lxmert_tf.regions.image import read_image
from lxmert_tf.serving.session import SavedModelSession
from tests.serving.tiny import make_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory)


@pytest.fixture(scope="session")
def loaded(tiny):
    """The SavedModel, loaded by TensorFlow."""
    return tf.saved_model.load(str(tiny.saved_model))


@pytest.fixture(scope="session")
def signatures(loaded):
    return loaded.signatures


@pytest.fixture(scope="session")
def session(tiny):
    """The SavedModel in a session, which is faster to load and to call."""
    return SavedModelSession(tiny.saved_model)


@pytest.fixture(scope="session")
def image():
    return read_image(easy_vqa.get_test_image_paths()[0])


@pytest.fixture(scope="session")
def keras_model(tiny):
    return LxmertAnswerClassifier.from_preset(tiny.preset)


@pytest.fixture(scope="session")
def flat_records(tiny):
    """Serialized scenes with one question each, of images with different numbers of regions."""
    return [r.numpy() for r in read_records(find_records(tiny.flat))]


@pytest.fixture(scope="session")
def grouped_records(tiny):
    return [r.numpy() for r in read_records(find_records(tiny.grouped))]


@pytest.fixture(scope="session")
def batch(flat_records):
    """The flat records as the inputs of `serving_default`."""
    scenes = parse_scenes(tf.constant(flat_records))
    regions = decode_regions(scenes)
    return {
        "question": scenes[schema.SENTENCE_TEXT].flat_values,
        "region_features": regions["region_features"],
        "region_boxes": regions["region_boxes"],
        "region_count": tf.reduce_sum(regions["region_mask"], axis=1),
    }
