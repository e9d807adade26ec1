"""A pair classifier as a SavedModel: its signatures, what they answer, and a server of it."""

import dataclasses

import easy_vqa
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (the SavedModel has its ops)
from tensorflow import keras
from tensorflow_serving.apis import prediction_log_pb2

from lxmert_tf import LxmertPairClassifier, LxmertTextPreprocessor
from lxmert_tf.cli import main as cli
from lxmert_tf.data import schema
from lxmert_tf.errors import InputError
from lxmert_tf.models.text_preprocessor import SPECIAL_PIECES
from lxmert_tf.serving import Client, ServerError
from lxmert_tf.serving.export import export_answer_model
from lxmert_tf.serving.model_card import write_model_card
from lxmert_tf.serving.predictor import Predictor
from lxmert_tf.serving.server.batcher import merge_inputs
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.serving.warmup import write_warmup
from tests.lxmert_tf.samples import one_line, pair_scenes
from tests.serving.rest import NAME, running
from tests.serving.test_signatures import described, signature_defs
from tests.serving.tiny import SIZES

# Of the grid extractor as it is unless told otherwise.
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
    export_answer_model(model, folder)
    write_warmup(folder, model)
    return folder


@pytest.fixture(scope="module")
def loaded(saved_model):
    return tf.saved_model.load(str(saved_model))


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
    """The records as the arguments of `serving_default`."""
    scenes = schema.parse_scenes(tf.constant(records))
    regions = schema.decode_regions(scenes, images_per_scene=2)
    return {
        "question": scenes[schema.SENTENCE_TEXT].flat_values,
        "region_features": regions["region_features"],
        "region_boxes": regions["region_boxes"],
        "region_count": tf.reduce_sum(regions["region_mask"], axis=2),
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


def test_both_signatures_answer_as_the_keras_model(loaded, batch, records, expected):
    # Statements must not all be judged alike, or the comparison would see little.
    assert np.ptp(expected[:, 0]) > 0.05
    at_once = loaded.signatures["serving_default"](**batch)
    by_examples = loaded.signatures["serve_examples"](examples=tf.constant(records))
    np.testing.assert_allclose(by_examples["probabilities"], expected, rtol=0, atol=1e-6)
    verdicts = np.array([b"False", b"True"], object)[np.argsort(-expected, axis=1)]
    for outputs in (at_once, by_examples):
        np.testing.assert_array_equal(outputs["answers"], verdicts)
        np.testing.assert_allclose(
            outputs["scores"], -np.sort(-expected, axis=1), rtol=0, atol=1e-6
        )


def test_the_order_of_the_images_matters(loaded, batch):
    swapped = {name: v[:, ::-1] if v.shape.rank > 1 else v for name, v in batch.items()}
    answer = loaded.signatures["serving_default"]
    assert np.abs(answer(**swapped)["scores"] - answer(**batch)["scores"]).max() > 1e-3


def test_what_lies_behind_region_count_changes_nothing(loaded, batch):
    assert len(np.unique(batch["region_count"])) > 1
    real = tf.sequence_mask(batch["region_count"])[..., tf.newaxis]
    garbage = {
        **batch,
        "region_features": tf.where(real, batch["region_features"], 1000.0),
        "region_boxes": tf.where(real, batch["region_boxes"], 1.0),
    }
    answer = loaded.signatures["serving_default"]
    np.testing.assert_allclose(
        answer(**garbage)["scores"], answer(**batch)["scores"], rtol=0, atol=1e-5
    )


def test_scenes_of_one_image_and_counts_that_cannot_be_are_refused(loaded, batch, flat_records):
    with pytest.raises(tf.errors.InvalidArgumentError, match="reads scenes of 2 images"):
        loaded.signatures["serve_examples"](examples=tf.constant(flat_records[:1]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="larger than region_features"):
        loaded.signatures["serving_default"](**batch | {"region_count": batch["region_count"] + 9})


def test_warm_up_runs_both_signatures(saved_model, loaded):
    file = saved_model / "assets.extra" / "tf_serving_warmup_requests"
    seen = set()
    for record in tf.data.TFRecordDataset(str(file)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        outputs = loaded.signatures[request.model_spec.signature_name](**inputs)
        assert np.isfinite(outputs["scores"]).all()
        seen.add(request.model_spec.signature_name)
    assert seen == {"serving_default", "serve_examples"}


def test_card_is_of_statements(model, tmp_path):
    write_model_card(tmp_path, model, {}, 1.0)
    card = (tmp_path / "assets.extra" / "model_card.md").read_text()
    assert card.startswith("# Statements about two images\n")
    assert "| answers | 2 |" in card


@pytest.fixture(scope="module")
def endpoint(saved_model):
    with running(ModelVersions(saved_model, {}, print)) as endpoint:
        yield endpoint


def test_local_server_judges_statements_for_the_client(endpoint, batch, loaded):
    outputs = loaded.signatures["serving_default"](**batch)
    statements = [text.decode() for text in batch["question"].numpy()]
    regions = [batch[name].numpy() for name in REGIONS]
    judged = Client(endpoint, NAME).answer(statements, *regions)
    assert [[a for a, _ in row] for row in judged] == outputs["answers"].numpy().astype(
        str
    ).tolist()
    found = np.array([[score for _, score in row] for row in judged])
    np.testing.assert_allclose(found, outputs["scores"], rtol=0, atol=1e-5)


def test_requests_of_different_sizes_go_together(batch, loaded):
    requests = []
    for i in (0, 3):
        one = {name: value[i : i + 1].numpy() for name, value in batch.items()}
        most = one["region_count"].max()
        cut = {name: one[name][:, :, :most] for name in ("region_features", "region_boxes")}
        requests.append({**one, **cut})
    assert len({r["region_features"].shape for r in requests}) == 2
    merged = loaded.signatures["serving_default"](
        **{name: tf.constant(value) for name, value in merge_inputs(requests).items()}
    )
    whole = loaded.signatures["serving_default"](**batch)
    np.testing.assert_allclose(
        merged["scores"], tf.gather(whole["scores"], [0, 3]), rtol=0, atol=1e-5
    )


def test_what_is_only_for_answer_models_is_told_in_one_line(endpoint, batch, saved_model):
    regions = [batch[name][:, 0].numpy() for name in REGIONS]
    with pytest.raises(ServerError) as caught:
        Client(endpoint, NAME).encode_image(*regions)
    assert "signature_name is 'encode_image'; there are serve_examples, serv" in one_line(caught)
    with pytest.raises(InputError) as caught:
        Predictor(saved_model).ask(np.zeros([9, 9, 3], np.uint8), ["what is it?"])
    assert "judges statements about two pictures; name both" in one_line(caught)


def asked(capsys, model, *options) -> list[str]:
    """What `lxmert ask` prints about the pictures of the first scene."""
    pictures = [easy_vqa.get_test_image_paths()[number] for number in (0, 1)]
    images = [option for path in pictures for option in ("--image", path)]
    texts = [sentence.text for sentence in pair_scenes(1)[0].sentences]
    assert cli.main(["ask", "--model", str(model), *images, *options, *texts]) == 0
    return capsys.readouterr().out.splitlines()


def test_ask_judges_statements_about_two_pictures(
    saved_model, endpoint, model, loaded, batch, tmp_path, capsys
):
    lines = asked(capsys, saved_model)
    outputs = loaded.signatures["serving_default"](**batch)
    likelier, score = outputs["answers"][0, 0].numpy().decode(), outputs["scores"][0, 0].numpy()
    # The records hold features of 16 bits.
    assert lines[0] == batch["question"][0].numpy().decode()
    assert lines[1].split() == [f"{score:.1%}", likelier]
    model.save_preset(tmp_path / "preset")
    assert asked(capsys, tmp_path / "preset") == lines
    assert asked(capsys, NAME, "--endpoint", endpoint) == lines


def test_two_pictures_are_too_many_for_an_answer_model(tiny, capsys):
    pictures = easy_vqa.get_test_image_paths()
    command = ["ask", "--model", str(tiny.preset), "--image", pictures[0], "--image", pictures[1]]
    assert cli.main([*command, "is it blue?"]) == 2
    assert "answers questions about one picture; name one" in capsys.readouterr().err
    assert cli.main([*command, "--image", pictures[2], "is it blue?"]) == 2
    assert "--image is given 3 times; a model reads one or two" in capsys.readouterr().err
