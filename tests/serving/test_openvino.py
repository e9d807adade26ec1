"""The OpenVINO model answers as the SavedModel, without TensorFlow, and says what is damaged."""

import dataclasses
import importlib.util
import json
import shutil
import subprocess
import sys

import easy_vqa
import numpy as np
import pytest
import requests
from tensorflow import keras

from lxmert_tf import Client, LxmertPairClassifier, Predictor, load_preset
from lxmert_tf.errors import InputError
from lxmert_tf.models.special_pieces import SPECIAL_PIECES
from lxmert_tf.serving.export import export_answer_model
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.serving.session import SavedModelSession
from tests.lxmert_tf.samples import one_line
from tests.serving.rest import NAME, running
from tests.serving.tiny import EXTRACTOR, SIZES

# Not imported here: OpenVINO would report it over the network.
if importlib.util.find_spec("openvino") is None:
    pytest.skip("needs the extra openvino", allow_module_level=True)
pytest.importorskip("tokenizers", reason="needs the extra openvino")

from lxmert_tf.serving.openvino_export import export_openvino
from lxmert_tf.serving.openvino_session import OpenVinoSession

# The conversion takes seconds.
pytestmark = pytest.mark.slow

QUESTIONS = ["what shape is in the image?", "is there a circle?"]
FILES = [
    "answers.txt",
    "assets.extra",
    "config.json",
    "image_encoder.bin",
    "image_encoder.xml",
    "model.bin",
    "model.xml",
    "openvino.json",
    "question_encoder.bin",
    "question_encoder.xml",
    "vocab.txt",
]


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino") / "1"
    export_openvino(load_preset(tiny.preset), folder)
    return folder


@pytest.fixture(scope="module")
def openvino(exported):
    return OpenVinoSession(exported)


@pytest.fixture
def copy(exported, tmp_path):
    """A copy to damage."""
    return shutil.copytree(exported, tmp_path / "1")


def arrays_of(batch):
    return {name: tensor.numpy() for name, tensor in batch.items()}


def assert_equal_outputs(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        if name == "answers":
            assert found[name].tolist() == array.tolist()
        else:
            np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5)
            assert found[name].dtype == array.dtype


def test_it_holds_what_answers_need(exported):
    assert sorted(path.name for path in exported.iterdir()) == FILES
    assert json.loads((exported / "openvino.json").read_text()) == {
        "precision": "float32",
        "max_length": 20,
        "top_k": 5,
        "format": 2,
    }
    assert json.loads((exported / "assets.extra" / "extractor.json").read_text()) == EXTRACTOR


def test_every_signature_equals_that_of_the_saved_model(openvino, session, batch):
    inputs = arrays_of(batch)
    # Padding on both sides, so that a wrong mask shows.
    assert len(set(inputs["region_count"])) > 1
    assert len({len(question.split()) for question in inputs["question"]}) > 1
    assert openvino.specs.keys() == session.specs.keys() - {"serve_examples"}
    for name, specs in openvino.specs.items():
        assert specs == session.specs[name]
    assert_equal_outputs(
        openvino.run("serving_default", inputs), session.run("serving_default", inputs)
    )
    regions = {name: inputs[name] for name in openvino.specs["encode_image"]}
    states = session.run("encode_image", regions)
    assert_equal_outputs(openvino.run("encode_image", regions), states)
    questions = {"question": inputs["question"]}
    states |= session.run("encode_question", questions)
    found = openvino.run("encode_question", questions)
    np.testing.assert_allclose(found["question_state"], states["question_state"], atol=1e-5)
    assert_equal_outputs(openvino.run("answer_pairs", states), session.run("answer_pairs", states))
    for i in range(3):
        about = {
            "question": inputs["question"][:5],
            "image_state": states["image_state"][i : i + 1],
        }
        assert_equal_outputs(
            openvino.run("answer_about_image", about), session.run("answer_about_image", about)
        )


def test_a_pair_classifier_equals_its_saved_model(tmp_path):
    words = [*SPECIAL_PIECES, "the", "left", "picture", "has", "a", "shape", "."]
    keras.utils.set_random_seed(2)
    model = LxmertPairClassifier(
        dataclasses.replace(SIZES, vocab_size=len(words)), vocabulary=words, extractor=EXTRACTOR
    )
    export_openvino(model, tmp_path / "openvino")
    export_answer_model(model, tmp_path / "saved_model")
    random = np.random.default_rng(0)
    inputs = {
        "question": ["the left picture has a shape .", "a picture"],
        "region_features": random.normal(size=[2, 2, 5, SIZES.region_feature_size]),
        "region_boxes": random.uniform(size=[2, 2, 5, 4]),
        "region_count": [[5, 3], [1, 4]],
    }
    found = OpenVinoSession(tmp_path / "openvino").run("serving_default", inputs)
    expected = SavedModelSession(tmp_path / "saved_model").run("serving_default", inputs)
    assert_equal_outputs(found, expected)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_lower_precisions_are_close(tiny, session, batch, tmp_path, precision):
    export_openvino(load_preset(tiny.preset), tmp_path / "1", precision)
    lower = OpenVinoSession(tmp_path / "1")
    inputs = arrays_of(batch)
    scores = lower.run("serving_default", inputs)["scores"]
    expected = session.run("serving_default", inputs)["scores"]
    # Eight bits: 0.004 of each number, and the sums of four layers add up.
    np.testing.assert_allclose(scores, expected, rtol=0, atol=0.05)
    if lower.precision != "float32":
        assert np.abs(scores - expected).max() > 1e-5
    full = OpenVinoSession(tmp_path / "1")
    np.testing.assert_array_equal(full.run("serving_default", inputs)["scores"], scores)


def test_an_unknown_precision_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match="'float16'; it must be one of float32, bfloat16, int8"):
        export_openvino(load_preset(tiny.preset), tmp_path / "1", "float16")
    assert not list(tmp_path.iterdir())


def test_no_questions_have_no_answers(openvino, batch):
    inputs = {name: array[:0] for name, array in arrays_of(batch).items()}
    outputs = openvino.run("serving_default", inputs)
    assert (outputs["answers"].shape, outputs["scores"].shape) == ((0, 5), (0, 5))
    states = openvino.run("encode_question", inputs)
    states["image_state"] = states["question_state"]
    assert openvino.run("answer_pairs", states)["answers"].shape == (0, 5)


def test_states_of_different_numbers_are_refused(openvino):
    states = {"question_state": np.ones([2, 3, 16]), "image_state": np.ones([1, 3, 16])}
    with pytest.raises(InputError, match="differ in batch size"):
        openvino.run("answer_pairs", states)


def test_predictors_answer_alike(exported, tiny, image):
    expected = Predictor.from_saved_model(tiny.saved_model).answer(image, QUESTIONS)
    # A folder of versions, of which the highest is taken whatever its engine.
    for directory in (exported, exported.parent):
        found = Predictor.from_directory(directory).answer(image, QUESTIONS)
        assert [[a for a, _ in row] for row in found] == [[a for a, _ in row] for row in expected]
        scores = [[[score for _, score in row] for row in rows] for rows in (found, expected)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-5)
        predictor = Predictor.from_directory(directory)
        [pairs] = predictor.answer_pairs(
            [predictor.encode(image)], predictor.encode_questions(QUESTIONS)
        )
        assert [[a for a, _ in row] for row in pairs] == [[a for a, _ in row] for row in found]


def test_a_fresh_process_asks_without_tensorflow(exported, tmp_path):
    picture = easy_vqa.get_test_image_paths()[0]
    script = (
        "import sys\n"
        "from lxmert_tf.cli.main import main\n"
        "status = main(sys.argv[1:])\n"
        "loaded = {name.partition('.')[0] for name in sys.modules if sys.modules[name]}\n"
        "print(status, sorted(loaded & {'tensorflow', 'keras', 'openvino_telemetry'}))"
    )
    command = [sys.executable, "-c", script, "ask", "--model", exported, "--image", picture]
    done = subprocess.run([*command, *QUESTIONS], capture_output=True, text=True, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert (done.stderr, lines[-1]) == ("", "0 []")
    assert [line for line in lines if not line.startswith(" ")][:-1] == QUESTIONS


def test_the_server_answers_as_with_a_saved_model(exported, tiny, batch):
    inputs = arrays_of(batch)
    questions = [question.decode() for question in inputs.pop("question")]
    found = []
    for directory in (exported, tiny.saved_model):
        with running(ModelVersions(directory, {}, print)) as endpoint:
            client = Client(endpoint, NAME)
            answers = client.answer(questions, **inputs)
            state = client.encode_image(*(array[:1] for array in inputs.values()))
            about = client.answer_about_image(questions[:3], state)
            metadata = requests.get(f"{endpoint}/v1/models/{NAME}/metadata").json()
            body = {"inputs": {**{k: v[:1].tolist() for k, v in inputs.items()}}}
            body["inputs"] |= {"question": ["what?"], "region_count": [99]}
            refusal = requests.post(f"{endpoint}/v1/models/{NAME}:predict", json=body)
            found.append((answers, about, metadata, refusal.status_code, refusal.json()))
    for ours, theirs in zip(found[0][:2], found[1][:2]):
        for row, expected in zip(ours, theirs):
            assert [answer for answer, _ in row] == [answer for answer, _ in expected]
            scores = [[score for _, score in part] for part in (row, expected)]
            np.testing.assert_allclose(*scores, rtol=0, atol=1e-5)
    assert found[0][3:] == found[1][3:]
    assert found[0][3] == 400
    signatures = [signatures_of(metadata) for _, _, metadata, *_ in found]
    for name, signature in signatures[0].items():
        for side in ("inputs", "outputs"):
            expected = {
                key: info | {"name": key} for key, info in signatures[1][name][side].items()
            }
            assert signature[side] == expected


def signatures_of(metadata):
    return metadata["metadata"]["signature_def"]["signature_def"]


def test_an_engine_serves_its_versions_only(exported, tiny, tmp_path):
    shutil.copytree(exported, tmp_path / "2")
    shutil.copytree(tiny.saved_model, tmp_path / "1")
    for engine, number in ((None, 2), ("tensorflow", 1), ("openvino", 2)):
        assert ModelVersions(tmp_path, {}, print, engine).numbers() == [number]


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("openvino", "a SavedModel; --engine openvino needs one from lxmert export --format"),
        ("tensorflow", "an OpenVINO model; --engine tensorflow needs a SavedModel"),
    ],
)
def test_a_model_for_the_other_engine_is_not_served(exported, tiny, engine, message):
    directory = tiny.saved_model if engine == "openvino" else exported
    with pytest.raises(InputError) as caught:
        ModelVersions(directory, {}, print, engine)
    assert one_line(caught).startswith(f"{directory}: {message}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "model.xml").write_text("<net>"), "model.xml: cannot load the OpenVINO"),
        (lambda d: (d / "model.xml").write_bytes(b"\xff" * 99), "model.xml: cannot load"),
        (lambda d: (d / "model.bin").unlink(), "model.xml: cannot load the OpenVINO model"),
        (lambda d: (d / "model.bin").write_bytes(b"1"), "model.xml: cannot load the OpenVINO"),
        (lambda d: (d / "image_encoder.xml").unlink(), "image_encoder.xml: the file is missing"),
        (lambda d: (d / "question_encoder.xml").unlink(), "encoder.xml: the file is missing"),
        (lambda d: (d / "openvino.json").unlink(), "openvino.json: No such file"),
        (lambda d: (d / "openvino.json").write_text("{}"), "openvino.json: the key 'precision'"),
        (lambda d: (d / "vocab.txt").write_text("a\n"), "vocab.txt: 1 lines, but config.json says"),
        (lambda d: (d / "answers.txt").write_text("a\n"), "answers.txt: 1 lines, but config.json"),
    ],
)
def test_a_damaged_model_is_refused(copy, damage, message):
    damage(copy)
    with pytest.raises(InputError) as caught:
        Predictor.from_openvino(copy)
    assert one_line(caught).startswith(str(copy))
    assert message in one_line(caught)


def test_a_model_in_place_of_another_is_refused(exported, tiny):
    with pytest.raises(InputError) as caught:
        Predictor.from_saved_model(exported)
    assert one_line(caught) == f"{exported}: an OpenVINO model, not a SavedModel"
    with pytest.raises(InputError) as caught:
        Predictor.from_openvino(tiny.saved_model)
    assert one_line(caught) == (
        f"{tiny.saved_model}: a SavedModel, not a model of lxmert export --format openvino"
    )
