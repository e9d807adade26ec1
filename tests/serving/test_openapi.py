"""The OpenAPI document describes what the server takes and gives."""

import base64
import json

import hypothesis
import pytest
import requests

from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.server.model_versions import ModelVersions
from lxmert_tf.serving.server.openapi import PATH, describe_api
from lxmert_tf.serving.server.predict_json import parse_predict
from tests.serving.rest import NAME, running
from tests.serving.test_predict_json import ANY_JSON

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def versions(tiny):
    return ModelVersions(tiny.saved_model, {"stable": 1}, lambda line: None)


@pytest.fixture(scope="module")
def endpoint(versions):
    with running(versions) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def document(endpoint):
    return requests.get(f"{endpoint}{PATH}", timeout=60).json()


@pytest.fixture(scope="module")
def schema(document):
    """Return the validator of a named schema."""

    def named(name):
        whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema.Draft202012Validator.check_schema(whole)
        return jsonschema.Draft202012Validator(whole)

    return named


@pytest.fixture(scope="module")
def examples(versions, batch, flat_records, picture):
    """Inputs of each signature for one question, as JSON by column."""
    regions = {
        name: batch[name].numpy()[:1].tolist()
        for name in ("region_features", "region_boxes", "region_count")
    }
    question = {"question": ["what color is the shape?"]}
    _, model = versions.get()
    state = model.run("encode_image", parse("encode_image", regions, model).inputs)
    image = {"image_state": state["image_state"].tolist()}
    asked = model.run("encode_question", parse("encode_question", question, model).inputs)
    image_bytes = {"image": [{"b64": base64.b64encode(picture).decode()}]}
    return {
        "serving_default": {**regions, **question},
        "encode_image": regions,
        "encode_question": question,
        "answer_about_image": {**image, **question},
        "answer_pairs": {**image, "question_state": asked["question_state"].tolist()},
        "serve_examples": {"examples": [{"b64": base64.b64encode(flat_records[0]).decode()}]},
        "answer_image": {**image_bytes, **question},
    }


@pytest.fixture(scope="module")
def picture():
    import easy_vqa

    with open(easy_vqa.get_test_image_paths()[0], "rb") as file:
        return file.read()


def parse(signature, columns, model):
    return parse_predict(
        json.dumps({"signature_name": signature, "inputs": columns}).encode(), model.specs
    )


def bodies(signature, columns):
    """Yield the forms of a request."""
    name = {"signature_name": signature}
    yield {**name, "inputs": columns}
    yield {**name, "instances": [dict(zip(columns, row)) for row in zip(*columns.values())]}
    if len(columns) == 1:
        [values] = columns.values()
        yield {**name, "inputs": values}
        yield {**name, "instances": values}


def test_every_form_of_a_request_and_its_response_is_described(
    endpoint, schema, examples, versions
):
    _, model = versions.get()
    assert model.specs.keys() <= examples.keys()
    for signature in model.specs:
        for body in bodies(signature, examples[signature]):
            schema("PredictRequest").validate(body)
            url = f"{endpoint}/v1/models/{NAME}:predict"
            response = requests.post(url, json=body, timeout=60)
            assert response.status_code == 200, response.text
            schema("PredictResponse").validate(response.json())


def test_every_path_that_is_described_answers(endpoint, document):
    for path, methods in document["paths"].items():
        url = endpoint + path.format(version="1", label="stable")
        for method, operation in methods.items():
            if method == "get":
                response = requests.get(url, timeout=60)
                assert response.status_code == 200
                [media_type] = operation["responses"]["200"]["content"]
                assert response.headers["content-type"].startswith(media_type)
            if method == "post":
                response = requests.post(url, data="{}", timeout=60)
                assert response.status_code == 400 and "400" in operation["responses"]


def test_a_name_is_quoted_in_paths(versions):
    _, model = versions.get()
    paths = describe_api("my {model}", model)["paths"]
    assert "/v1/models/my%20%7Bmodel%7D/versions/{version}:predict" in paths


def test_an_error_is_described(endpoint, schema):
    response = requests.post(f"{endpoint}/v1/models/{NAME}:predict", data="{}", timeout=60)
    schema("Error").validate(response.json())


@hypothesis.given(value=ANY_JSON, where=hypothesis.strategies.integers(0, 7))
@hypothesis.settings(deadline=None)
def test_what_is_accepted_is_described(value, where, schema, examples, versions):
    _, model = versions.get()
    columns = examples["serving_default"]
    changed = [{**columns, name: value} for name in columns]
    changed += [{**columns, name: [value]} for name in columns]
    body = {"inputs": changed[where]}
    try:
        parse_predict(json.dumps(body).encode(), model.specs)
    except RequestError:
        return
    schema("PredictRequest").validate(body)


@pytest.mark.parametrize(
    "changes",
    [
        {"question": [3]},
        {"question": "one"},
        {"region_count": [1.5]},
        {"region_count": [2**31]},
        {"region_boxes": [[[0, 0, 1]]]},
        {"region_features": [0.5]},
        {"region_features": None},
    ],
)
def test_what_is_refused_for_its_form_is_not_described(changes, schema, examples):
    body = {"inputs": {**examples["serving_default"], **changes}}
    assert not schema("PredictRequest").is_valid(body)
