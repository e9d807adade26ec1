"""A pair classifier as a SavedModel: its signatures, their answers, and its server."""

import dataclasses

import easy_vqa
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from tensorflow_serving.apis import prediction_log_pb2

from lxmert_tf import LxmertPairClassifier, LxmertTextPreprocessor
from lxmert_tf.cli import main as cli
from lxmert_tf.data import schema
from lxmert_tf.data.scene_tensors import decode_regions, parse_scenes
from lxmert_tf.detector.detector import Detector
from lxmert_tf.errors import InputError
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from lxmert_tf.serving import Client, Predictor, ServerError
from lxmert_tf.serving.export import export_version
from lxmert_tf.serving.model_card import write_model_card
from lxmert_tf.serving.server.batcher import merge_inputs
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.serving.session import SavedModelSession
from tests.lxmert_tf.detector.samples import CONFIG
from tests.lxmert_tf.samples import one_line, pair_scenes
from tests.serving.rest import NAME, running
from tests.serving.signature_specs import described, signature_defs
from tests.serving.tiny import SIZES

# Of the grid extractor by default.
F = 256
EXTRACTOR = {"name": "grid"}
WORDS = ["the", "picture", "has", "a", "shape", "in", "it", "left", "right", "other", "."]
QUESTION = {"question": ("string", [None])}
REGIONS = {
    "region_features": ("float32", [None, 2, None, F]),
    "region_boxes": ("float32", [None, 2, None, 4]),
    "region_count": ("int32", [None, 2]),
}
ANSWERS = {"answers": ("string", [None, 2]), "scores": ("float32", [None, 2])}


@pytest.fixture(scope="module")
def model():
    words = [*SPECIAL_PIECES, *WORDS]
    keras.utils.set_random_seed(2)
    sizes = dataclasses.replace(SIZES, vocab_size=len(words), region_feature_size=F)
    return LxmertPairClassifier(sizes, vocabulary=words, extractor=EXTRACTOR)


@pytest.fixture(scope="module")
def saved_model(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "1"
    export_version(model, folder)
    return folder


@pytest.fixture(scope="module")
def call(saved_model):
    """Calls a signature of the SavedModel."""
    return SavedModelSession(saved_model).run


@pytest.fixture(scope="module")
def records():
    """Serialized scenes of two images and one statement."""
    return [
        schema.encode_scene(dataclasses.replace(scene, sentences=(sentence,)))
        for scene in pair_scenes(4)
        for sentence in scene.sentences
    ]


@pytest.fixture(scope="module")
def batch(records):
    """The records as the inputs of `serving_default`."""
    scenes = parse_scenes(tf.constant(records))
    regions = decode_regions(scenes, images_per_scene=2)
    return {
        "question": scenes[schema.SENTENCE_TEXT].flat_values.numpy(),
        "region_features": regions["region_features"].numpy(),
        "region_boxes": regions["region_boxes"].numpy(),
        "region_count": tf.reduce_sum(regions["region_mask"], axis=2).numpy(),
    }


@pytest.fixture(scope="module")
def expected(model, batch):
    """The Keras model's probabilities, of False and True."""
    mask = tf.sequence_mask(batch["region_count"], dtype=tf.int32)
    text = LxmertTextPreprocessor(model.vocabulary)(batch["question"])
    regions = {name: batch[name] for name in ("region_features", "region_boxes")}
    return tf.nn.softmax(model({**text, **regions, "region_mask": mask})).numpy()


def test_signatures_are_those_of_answer_models_with_an_axis_for_the_images(saved_model):
    found = {
        name: (described(signature.inputs), described(signature.outputs))
        for name, signature in signature_defs(saved_model).items()
    }
    examples = {"examples": ("string", [None])}
    assert found == {
        "serving_default": (QUESTION | REGIONS, ANSWERS),
        "serve_examples": (examples, ANSWERS | {"probabilities": ("float32", [None, 2])}),
    }


def test_both_signatures_answer_as_the_keras_model(call, batch, records, expected):
    # Statements must not all be judged alike, or the comparison would see little.
    assert np.ptp(expected[:, 0]) > 0.05
    at_once = call("serving_default", batch)
    by_examples = call("serve_examples", {"examples": records})
    np.testing.assert_allclose(by_examples["probabilities"], expected, rtol=0, atol=1e-6)
    verdicts = np.array([b"False", b"True"], object)[np.argsort(-expected, axis=1)]
    for outputs in (at_once, by_examples):
        np.testing.assert_array_equal(outputs["answers"], verdicts)
        np.testing.assert_allclose(
            outputs["scores"], -np.sort(-expected, axis=1), rtol=0, atol=1e-6
        )


def test_the_order_of_the_images_matters(call, batch):
    swapped = {name: v[:, ::-1] if v.ndim > 1 else v for name, v in batch.items()}
    scores = [call("serving_default", inputs)["scores"] for inputs in (swapped, batch)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_padded_regions_change_nothing(call, batch):
    assert len(np.unique(batch["region_count"])) > 1
    real = tf.sequence_mask(batch["region_count"])[..., tf.newaxis].numpy()
    garbage = {
        **batch,
        "region_features": np.where(real, batch["region_features"], 1000.0),
        "region_boxes": np.where(real, batch["region_boxes"], 1.0),
    }
    scores = [call("serving_default", inputs)["scores"] for inputs in (garbage, batch)]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-5)


def test_scenes_of_one_image_and_wrong_counts_are_refused(call, batch, flat_records):
    with pytest.raises(tf.errors.InvalidArgumentError, match="reads scenes of 2 images"):
        call("serve_examples", {"examples": flat_records[:1]})
    with pytest.raises(tf.errors.InvalidArgumentError, match="larger than region_features"):
        call("serving_default", batch | {"region_count": batch["region_count"] + 9})


def test_warm_up_runs_both_signatures(saved_model, call):
    file = saved_model / "assets.extra" / "tf_serving_warmup_requests"
    seen = set()
    for record in tf.data.TFRecordDataset(str(file)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        outputs = call(request.model_spec.signature_name, inputs)
        assert np.isfinite(outputs["scores"]).all()
        seen.add(request.model_spec.signature_name)
    assert seen == {"serving_default", "serve_examples"}


def test_the_model_card_is_about_statements(model, tmp_path):
    write_model_card(tmp_path, model, {}, 1.0)
    card = (tmp_path / "assets.extra" / "model_card.md").read_text()
    assert card.startswith("# Statements about two images\n")
    assert "| answers | 2 |" in card


def test_a_detector_is_refused(model, tmp_path):
    with pytest.raises(InputError, match="only models that answer questions about one image can"):
        export_version(model, tmp_path / "1", detector=Detector(CONFIG))


@pytest.fixture(scope="module")
def endpoint(saved_model):
    with running(ModelVersions(saved_model, {}, print)) as endpoint:
        yield endpoint


def test_local_server_judges_statements_for_the_client(endpoint, batch, call):
    outputs = call("serving_default", batch)
    statements = [text.decode() for text in batch["question"]]
    regions = [batch[name] for name in REGIONS]
    judged = Client(endpoint, NAME).answer(statements, *regions)
    assert [[a for a, _ in row] for row in judged] == outputs["answers"].astype(str).tolist()
    found = np.array([[score for _, score in row] for row in judged])
    np.testing.assert_allclose(found, outputs["scores"], rtol=0, atol=1e-5)


def test_requests_of_different_sizes_are_merged(batch, call):
    requests = []
    for i in (0, 3):
        one = {name: value[i : i + 1] for name, value in batch.items()}
        most = one["region_count"].max()
        cut = {name: one[name][:, :, :most] for name in ("region_features", "region_boxes")}
        requests.append({**one, **cut})
    assert len({r["region_features"].shape for r in requests}) == 2
    merged = call("serving_default", merge_inputs(requests))["scores"]
    whole = call("serving_default", batch)["scores"]
    np.testing.assert_allclose(merged, whole[[0, 3]], rtol=0, atol=1e-5)


def test_calls_for_one_image_are_refused_in_one_line(endpoint, batch, model, saved_model):
    regions = [batch[name][:, 0] for name in REGIONS]
    with pytest.raises(ServerError) as caught:
        Client(endpoint, NAME).encode_image(*regions)
    assert "no signature 'encode_image'; signatures: serve_examples, serv" in one_line(caught)
    with pytest.raises(InputError) as caught:
        Predictor.from_saved_model(saved_model).answer(
            np.zeros([9, 9, 3], np.uint8), ["what is it?"]
        )
    assert "the model reads 2 images, not 1" in one_line(caught)
    for predictor, source in (
        (Predictor.from_saved_model(saved_model), saved_model),
        (Predictor.from_model(model), "the model"),
    ):
        with pytest.raises(InputError) as caught:
            predictor.encode_questions(["what is it?"])
        assert one_line(caught).startswith(f"{source}: no signature 'encode_question'; signatures")


def asked(capsys, model, *options) -> list[str]:
    """Return what `lxmert ask` prints about the images of the first scene."""
    pictures = [easy_vqa.get_test_image_paths()[number] for number in (0, 1)]
    images = [option for path in pictures for option in ("--image", path)]
    texts = [sentence.text for sentence in pair_scenes(1)[0].sentences]
    assert cli.main(["ask", "--model", str(model), *images, *options, *texts]) == 0
    return capsys.readouterr().out.splitlines()


def test_ask_judges_statements_about_two_images(
    saved_model, endpoint, model, call, batch, tmp_path, capsys
):
    lines = asked(capsys, saved_model)
    outputs = call("serving_default", batch)
    likelier, score = outputs["answers"][0, 0].decode(), outputs["scores"][0, 0]
    assert lines[0] == batch["question"][0].decode()
    assert lines[1].split() == [f"{score:.1%}", likelier]
    model.save_preset(tmp_path / "preset")
    assert asked(capsys, tmp_path / "preset") == lines
    assert asked(capsys, NAME, "--endpoint", endpoint) == lines


def test_an_answer_model_reads_one_image(tiny, capsys):
    pictures = easy_vqa.get_test_image_paths()
    command = ["ask", "--model", str(tiny.preset), "--image", pictures[0], "--image", pictures[1]]
    assert cli.main([*command, "is it blue?"]) == 2
    assert "the model reads 1 image, not 2" in capsys.readouterr().err
    assert cli.main([*command, "--image", pictures[2], "is it blue?"]) == 2
    assert "3 images; a model reads 1 or 2" in capsys.readouterr().err
