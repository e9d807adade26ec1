"""A SavedModel with a detector: it answers about pictures as detector and model do one by one."""

import base64
import dataclasses
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import requests
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from lxmert_tf.cli import main as cli
from lxmert_tf.detector.detector import Detector
from lxmert_tf.errors import InputError
from lxmert_tf.regions.image import decode_image
from lxmert_tf.serving import Client, Predictor, ServerError
from lxmert_tf.serving.export import export_version
from lxmert_tf.serving.picture_module import PictureModule
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.serving.session import SavedModelSession
from lxmert_tf.serving.warmup import picture_warmup_requests
from tests.lxmert_tf.detector.samples import CONFIG, pictures, randomize
from tests.lxmert_tf.samples import one_line
from tests.serving.grpc_server import SignaturesServicer, running_grpc
from tests.serving.page import PAGE, PICTURES, programs_of, run_programs
from tests.serving.rest import NAME, running
from tests.serving.signature_specs import (
    ANSWERS,
    PYTHON_OPS,
    QUESTION,
    H,
    described,
    signature_defs,
)

DETECTOR = dataclasses.replace(CONFIG, stage_channels=8)
R = DETECTOR.max_regions
ERROR = {"error": ("string", [None])}
SIGNATURES = {
    "answer_image": (QUESTION | {"image": ("string", [None])}, ANSWERS | ERROR),
    "answer_about_picture": (QUESTION | {"image": ("string", [1])}, ANSWERS | ERROR),
    "encode_picture": (
        {"image": ("string", [None])},
        {"image_state": ("float32", [None, R, H])} | ERROR,
    ),
}
QUESTIONS = ["what shape is in the image?", "is there a circle?", "what color is the shape?"]


def file_of(pixels: np.ndarray, form="PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


FILES = [file_of(pixels) for pixels in pictures((40, 50), (70, 30), (61, 61))]
BROKEN = FILES[0][:-30]


@pytest.fixture(scope="module")
def detector():
    detector = Detector(DETECTOR)
    randomize(detector)
    return detector


@pytest.fixture(scope="module")
def saved_model(tiny, detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    detector.save_preset(folder / "detector")
    argv = ["export", "--model", tiny.preset, "--detector", folder / "detector"]
    assert cli.main([*map(str, argv), "--output", str(folder / "1")]) == 0
    return folder / "1"


@pytest.fixture(scope="module")
def call(saved_model):
    """Calls a signature of the SavedModel."""
    return SavedModelSession(saved_model).run


def alone(call, file, question):
    outputs = call("answer_image", {"image": [file], "question": [question]})
    return outputs["answers"][0], outputs["scores"][0], outputs["error"][0]


def assert_row(outputs, i, expected):
    np.testing.assert_array_equal(outputs["answers"][i], expected[0])
    np.testing.assert_allclose(outputs["scores"][i], expected[1], rtol=0, atol=1e-6)
    assert outputs["error"][i] == expected[2]


def test_signatures_on_disk_are_the_four_and_those_of_pictures(saved_model, tiny):
    found = {
        name: (described(signature.inputs), described(signature.outputs))
        for name, signature in signature_defs(saved_model).items()
    }
    assert found.keys() == signature_defs(tiny.saved_model).keys() | SIGNATURES.keys()
    assert {name: found[name] for name in SIGNATURES} == SIGNATURES


@pytest.mark.parametrize("flavor", ["hf", pytest.param("caffe", marks=pytest.mark.slow)])
def test_a_picture_is_answered_as_by_detector_and_model_one_by_one(
    flavor, detector, keras_model, call
):
    if flavor != DETECTOR.flavor:
        weights = detector.get_weights()
        detector = Detector(DETECTOR, flavor=flavor)
        detector.set_weights(weights)
        call = PictureModule(keras_model, detector).call
    seen = set()
    for file, question in zip(FILES, QUESTIONS):
        [regions] = detector.detect([decode_image(io.BytesIO(file))])
        inputs = {
            "question": [question],
            "region_features": [regions.features],
            "region_boxes": [regions.boxes],
            "region_count": [len(regions)],
        }
        expected = call("serving_default", inputs)
        answers, scores, error = alone(call, file, question)
        np.testing.assert_array_equal(answers, expected["answers"][0])
        np.testing.assert_allclose(scores, expected["scores"][0], rtol=0, atol=1e-5)
        assert error == b""
        seen.add(tuple(scores))
    # Otherwise the pictures would not matter.
    assert len(seen) == len(FILES)


def test_a_batch_answers_as_each_alone_and_refuses_only_the_bad_picture(call):
    files = [FILES[0], BROKEN, FILES[1], b"words", FILES[0], FILES[2]]
    questions = [QUESTIONS[i % 3] for i in range(6)]
    outputs = call("answer_image", {"image": files, "question": questions})
    for i, (file, question) in enumerate(zip(files, questions)):
        assert_row(outputs, i, alone(call, file, question))
    assert outputs["error"].tolist() == [
        b"",
        b"broken image",
        b"",
        b"not a JPEG or PNG image",
        b"",
        b"",
    ]
    for i in (1, 3):
        assert not outputs["answers"][i].any() and not outputs["scores"][i].any()


def test_many_questions_about_one_picture_are_answered_as_if_asked_alone(call):
    outputs = call("answer_about_picture", {"image": FILES[:1], "question": QUESTIONS})
    for i, question in enumerate(QUESTIONS):
        assert_row(outputs, i, alone(call, FILES[0], question))
    refused = call("answer_about_picture", {"image": [BROKEN], "question": QUESTIONS})
    assert refused["error"].tolist() == [b"broken image"] * 3
    none = call("answer_about_picture", {"image": FILES[:1], "question": np.array([], object)})
    assert none["answers"].shape == (0, 5)


def test_an_encoded_picture_is_answered_like_the_picture(call):
    encoded = call("encode_picture", {"image": [BROKEN, *FILES]})
    assert encoded["error"].tolist() == [b"broken image", b"", b"", b""]
    assert not encoded["image_state"][0].any()
    for i, file in enumerate(FILES, start=1):
        state = encoded["image_state"][i : i + 1]
        outputs = call("answer_about_image", {"question": QUESTIONS, "image_state": state})
        expected = alone(call, file, QUESTIONS[1])
        np.testing.assert_allclose(outputs["scores"][1], expected[1], rtol=0, atol=1e-6)


def test_a_photograph_is_turned_before_it_is_answered(call):
    [pixels] = pictures((50, 40), seed=3)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = file_of(np.ascontiguousarray(np.rot90(pixels)), exif=exif.tobytes())
    for mine, expected in zip(
        alone(call, turned, QUESTIONS[0]), alone(call, file_of(pixels), QUESTIONS[0])
    ):
        np.testing.assert_array_equal(mine, expected)


def test_pictures_of_odd_sizes_are_answered_or_refused_in_a_line(call, detector):
    images = pictures((1, 1), (1, 300), (300, 1), (2, 3))
    inputs = {"image": [file_of(image) for image in images], "question": QUESTIONS[:1] * 4}
    found = [len(regions) for regions in detector.detect(images)]
    assert call("answer_image", inputs)["error"].tolist() == [
        b"" if count else b"no regions were found in the image" for count in found
    ]


def test_no_picture_has_no_answers(call):
    none = np.array([], object)
    outputs = call("answer_image", {"image": none, "question": none})
    assert outputs["answers"].shape == outputs["scores"].shape == (0, 5)
    assert call("encode_picture", {"image": none})["image_state"].shape == (0, R, H)


def test_pictures_and_questions_of_different_numbers_are_refused(call):
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in batch size"):
        call("answer_image", {"image": FILES, "question": QUESTIONS[:2]})


def test_warm_up_runs_every_signature(saved_model, call):
    file = saved_model / "assets.extra" / "tf_serving_warmup_requests"
    seen, errors = set(), {}
    for record in tf.data.TFRecordDataset(str(file)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        name = request.model_spec.signature_name
        outputs = call(name, inputs)
        if "error" in outputs:
            [errors[name]] = outputs["error"]
        seen.add(name)
    assert seen == set(signature_defs(saved_model))
    # One of them runs the detector.
    unknown = b"not a JPEG or PNG image"
    assert errors == {
        "answer_image": b"",
        "answer_about_picture": unknown,
        "encode_picture": unknown,
    }


def test_a_detector_of_the_other_flavor_finds_regions_in_the_picture_of_the_warm_up(detector):
    _, inputs = next(picture_warmup_requests())
    [picture] = tf.make_ndarray(inputs["image"])
    other = Detector(DETECTOR, flavor="caffe")
    other.set_weights(detector.get_weights())
    [regions] = other.detect([decode_image(io.BytesIO(picture))])
    assert len(regions)


SCRIPT = """
import json, sys
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session
import tensorflow_text
ops = op_def_pb2.OpList()
ops.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
answer = tf.saved_model.load(sys.argv[1]).signatures["answer_image"]
images = tf.stack([tf.io.read_file(name) for name in sys.argv[2:]])
outputs = answer(image=images, question=tf.repeat("is there a circle?", len(images)))
print(json.dumps({
    "ops": sorted(op.name for op in ops.op),
    "ours": sorted(m for m in sys.modules if m.split(".")[0] in ("lxmert_tf", "pipeline")),
    "scores": outputs["scores"].numpy().tolist(),
}))
"""


@pytest.mark.slow
def test_tensorflow_and_tf_text_alone_answer(saved_model, call, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path, file in zip(paths, [FILES[1], BROKEN]):
        path.write_bytes(file)
    command = [sys.executable, "-c", SCRIPT, saved_model, *paths]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    fresh = json.loads(done.stdout)
    assert fresh["ours"] == []
    expected = alone(call, FILES[1], "is there a circle?")
    np.testing.assert_allclose(fresh["scores"], [expected[1], np.zeros(5)], rtol=0, atol=1e-6)
    saved = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    [graph] = saved.meta_graphs
    library = graph.graph_def.library.function
    nodes = [*graph.graph_def.node, *(node for function in library for node in function.node_def)]
    ops = {node.op for node in nodes} - {function.signature.name for function in library}
    assert ops <= set(fresh["ops"])
    assert not ops & PYTHON_OPS


@pytest.fixture(scope="module")
def versions(saved_model):
    return ModelVersions(saved_model, {}, print)


@pytest.fixture(scope="module")
def endpoint(versions):
    with running(versions) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def grpc_address(saved_model):
    with running_grpc(SignaturesServicer(SavedModelSession(saved_model))) as address:
        yield address


@pytest.fixture(params=["REST", "gRPC"])
def server(request, endpoint, grpc_address):
    """The endpoint of a server, and the model's address in messages."""
    if request.param == "REST":
        return endpoint, f"{endpoint}/v1/models/{NAME}"
    return grpc_address, grpc_address


@pytest.fixture
def client(server):
    return Client(server[0], NAME)


def test_the_client_sends_pictures(client, call):
    expected = [alone(call, file, question) for file, question in zip(FILES, QUESTIONS)]
    answers = client.answer_image(FILES, QUESTIONS)
    for row, (texts, scores, _) in zip(answers, expected):
        assert [answer for answer, _ in row] == texts.astype(str).tolist()
        np.testing.assert_allclose([score for _, score in row], scores, rtol=0, atol=1e-6)
    [_, second, _] = client.answer_about_picture(QUESTIONS, FILES[1])
    assert second[0][0] == expected[1][0][0].decode()
    state = client.encode_picture(FILES)
    [first] = client.answer_about_image(QUESTIONS[:1], state[:1])
    assert first[0][0] == expected[0][0][0].decode()


def test_the_client_reports_a_bad_picture_in_one_line(server, client):
    _, address = server
    with pytest.raises(ServerError) as caught:
        client.answer_image([*FILES[:2], BROKEN], QUESTIONS)
    assert one_line(caught) == f"{address}: image 3 of 3: broken image"
    for ask in (
        lambda: client.encode_picture([b""]),
        lambda: client.answer_about_picture(["?"], b""),
    ):
        with pytest.raises(ServerError) as caught:
            ask()
        assert one_line(caught) == f"{address}: not a JPEG or PNG image"
    # The others are not lost.
    outputs = client.call("answer_image", {"image": [FILES[0], BROKEN], "question": QUESTIONS[:2]})
    assert outputs["error"].tolist() == ["", "broken image"]
    assert outputs["answers"][0, 0] and not outputs["answers"][1, 0]


def test_a_model_without_a_detector_takes_no_pictures(tiny):
    servicer = SignaturesServicer(SavedModelSession(tiny.saved_model))
    versions = ModelVersions(tiny.saved_model, {}, print)
    with running(versions) as endpoint, running_grpc(servicer) as address:
        for client in (Client(endpoint, NAME), Client(address, NAME)):
            for ask in (
                lambda client: client.answer_image(FILES[:1], QUESTIONS[:1]),
                lambda client: client.answer_about_picture(QUESTIONS, FILES[0]),
                lambda client: client.encode_picture(FILES),
            ):
                with pytest.raises(ServerError) as caught:
                    ask(client)
                assert one_line(caught).endswith(
                    "the model does not take pictures; export it with `lxmert export --detector`"
                )


def test_rows_of_json_may_hold_pictures(endpoint, call):
    rows = [
        {"image": {"b64": base64.b64encode(file).decode()}, "question": QUESTIONS[0]}
        for file in (FILES[0], BROKEN)
    ]
    body = {"signature_name": "answer_image", "instances": rows}
    response = requests.post(f"{endpoint}/v1/models/{NAME}:predict", json=body, timeout=60)
    first, second = response.json()["predictions"]
    assert first["answers"] == alone(call, FILES[0], QUESTIONS[0])[0].astype(str).tolist()
    assert (first["error"], second["error"]) == ("", "broken image")
    assert second["answers"] == [""] * 5 and second["scores"] == [0.0] * 5


def test_the_programs_of_the_page_give_the_same_answer(versions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(FILES[0])
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    [section] = [part for part in sections if part.startswith(PICTURES)]
    with running(versions, name="photos") as endpoint:
        printed = run_programs(programs_of(section), endpoint)
    assert len(printed) == 2
    assert len({re.search(r"[a-z]+", line)[0] for line in printed}) == 1


def test_ask_needs_no_extractor(saved_model, endpoint, call, tmp_path, capsys):
    (tmp_path / "picture.png").write_bytes(FILES[0])
    # A picture of another format is sent as PNG.
    Image.fromarray(decode_image(io.BytesIO(FILES[0]))).save(tmp_path / "picture.bmp")
    [[best, *_], [score, *_], _] = alone(call, FILES[0], QUESTIONS[0])
    expected = f"{QUESTIONS[0]}\n  {score:6.1%}  {best.decode()}\n"
    server = ["--endpoint", endpoint, "--model", NAME]
    for where, name in (
        (["--model", str(saved_model)], "picture.png"),
        (server, "picture.png"),
        (server, "picture.bmp"),
    ):
        argv = ["ask", *where, "--image", str(tmp_path / name), "--top", "1", QUESTIONS[0]]
        assert cli.main(argv) == 0
        assert capsys.readouterr().out == expected


def test_a_predictor_reports_a_refused_picture_in_one_line(saved_model, endpoint):
    for predictor, source in (
        (Predictor.from_saved_model(saved_model), saved_model),
        (Predictor.from_endpoint(endpoint, NAME), endpoint),
    ):
        with pytest.raises(InputError) as caught:
            predictor.answer(BROKEN, QUESTIONS)
        assert one_line(caught) == f"{source}: broken image"
        with pytest.raises(InputError, match="the model reads 1 image, not 2"):
            predictor.answer(FILES[:2], QUESTIONS)


def test_pictures_of_other_requests_are_not_waited_for(versions):
    _, model = versions.get()
    assert not model.can_batch("answer_image") and not model.can_batch("encode_picture")
    assert model.can_batch("serving_default")


def test_a_detector_with_features_of_another_size_is_refused(keras_model, tmp_path):
    with pytest.raises(InputError) as caught:
        export_version(keras_model, tmp_path / "1", detector=Detector(CONFIG))
    assert one_line(caught) == ("the detector gives 48 features per region, but the model reads 64")
    assert not (tmp_path / "1").exists()
