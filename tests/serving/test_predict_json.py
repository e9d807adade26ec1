"""JSON of predict requests: by row and by column, and invalid bodies."""

import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.input_spec import STRING, InputSpec
from lxmert_tf.serving.server.predict_json import format_predict, parse_predict

SIGNATURES = {
    "serving_default": {
        "boxes": InputSpec((None, None, 4), np.dtype(np.float32)),
        "count": InputSpec((None,), np.dtype(np.int32)),
        "features": InputSpec((None, None, 2), np.dtype(np.float32)),
        "question": InputSpec((None,), STRING),
    },
    "examples": {"examples": InputSpec((None,), STRING)},
}
ROW = {"boxes": [[0, 0, 1, 1]], "count": 1, "features": [[0.5, -1e3]], "question": "is it ü?"}
COLUMNS = {name: [value] for name, value in ROW.items()}

ODD = st.sampled_from(
    [float("inf"), float("nan"), 1e39, 2**70, 0.5, True, None, "\ud800", [], [[]]]
)
ANY_JSON = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["b64", *ROW]) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def parse(content):
    return parse_predict(json.dumps(content).encode(), SIGNATURES)


def refusal(body) -> str:
    with pytest.raises(RequestError) as caught:
        parse_predict(body if isinstance(body, bytes) else json.dumps(body).encode(), SIGNATURES)
    assert caught.value.status == 400
    [line] = caught.value.reason.splitlines()
    return line


def test_states_of_questions_and_images_differ_in_length():
    state = InputSpec((None, None, 1), np.dtype(np.float32))
    signatures = {"answer_pairs": {"image_state": state, "question_state": state}}

    def parse_pairs(**inputs):
        body = {"signature_name": "answer_pairs", "inputs": inputs}
        return parse_predict(json.dumps(body).encode(), signatures).inputs

    inputs = parse_pairs(image_state=[[[1], [2]]], question_state=[[[1], [2], [3]]])
    assert [array.shape for array in inputs.values()] == [(1, 2, 1), (1, 3, 1)]
    with pytest.raises(RequestError, match="batch size: 1 in image_state, 2 in question_state"):
        parse_pairs(image_state=[[[1]]], question_state=[[[1]], [[2]]])


def test_rows_and_columns_give_the_same_inputs():
    by_row, by_column = parse({"instances": [ROW]}), parse({"inputs": COLUMNS})
    assert (by_row.by_row, by_column.by_row) == (True, False)
    assert by_row.signature == by_column.signature == "serving_default"
    for name, array in by_row.inputs.items():
        np.testing.assert_array_equal(array, by_column.inputs[name])
    assert by_row.inputs["features"].dtype == np.float32
    assert by_row.inputs["count"].dtype == np.int32
    assert by_row.inputs["question"].tolist() == ["is it ü?".encode()]


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"b64": "/wA="}]},
        {"instances": [{"examples": {"b64": "/wA="}}]},
        {"inputs": [{"b64": "/wA="}]},
        {"inputs": {"examples": [{"b64": "/wA="}]}},
    ],
)
def test_bytes_are_base64_and_the_only_input_needs_no_name(body):
    parsed = parse({"signature_name": "examples", **body})
    assert parsed.inputs["examples"].tolist() == [b"\xff\x00"]


def test_an_empty_signature_name_means_the_default():
    assert parse({"signature_name": "", "instances": [ROW]}).signature == "serving_default"


def test_extra_keys_are_ignored_except_in_a_row():
    parsed = parse({"context": {}, "signature": "examples", "inputs": {**COLUMNS, "color": 1}})
    assert parsed.signature == "serving_default" and parsed.inputs.keys() == COLUMNS.keys()


@pytest.mark.parametrize("text", ["/wA=", "/wA", "/w\nA=\n", " /wA= "])
def test_base64_needs_no_padding_and_may_have_white_space(text):
    parsed = parse({"signature_name": "examples", "instances": [{"b64": text}]})
    assert parsed.inputs["examples"].tolist() == [b"\xff\x00"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 1.0}, "count must hold only integers (int32)"),
        ({"count": "1"}, "count must hold only integers"),
        ({"count": True}, "count must hold only integers"),
        ({"count": 2**31}, "count has a number that is not finite or out of range for int32"),
        ({"count": 10**400}, "count has a number that is not finite or out of range for int32"),
        (
            {"features": [[10**400, 1]]},
            "features has a number that is not finite or out of range for float32",
        ),
        ({"features": [["1", "2"]]}, "features must hold only numbers (float32)"),
        ({"features": [[1, None]]}, "features must hold only numbers"),
        (
            {"features": [[1, float("nan")]]},
            "features has a number that is not finite or out of range for float32",
        ),
        (
            {"features": [[1, 1e39]]},
            "features has a number that is not finite or out of range for float32",
        ),
        ({"features": [[1, 2], [3]]}, "features is ragged"),
        ({"features": [[1, 2, 3]]}, "features has shape [1, 1, 3]; it must be [?, ?, 2]"),
        ({"features": [[[1, 2]]]}, "features is nested too deeply; it must be [?, ?, 2]"),
        # Numbers padded to this text would be gigabytes.
        ({"features": ["x" * 1_000_000, *[0] * 100_000]}, "features must hold only numbers"),
        ({"features": [[1, {}]]}, "features must hold only numbers"),
        ({"features": [1, 2]}, "features has shape [1, 2]; it must be [?, ?, 2]"),
        ({"features": [[1, 2], [3, 4]]}, "differ in number of regions: 1 in boxes, 2 in feat"),
        ({"question": 3}, 'question[0] must be a string or {"b64": base64 of bytes}'),
        ({"question": {"b64": "a"}}, "question[0] is not base64"),
        ({"question": {"b64": "YQ==", "x": 1}}, "question[0] must be a string"),
        ({"question": "\ud800"}, "question[0] has an unpaired surrogate"),
        ({"color": 1}, "instances[0] has unknown input 'color'"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(changes, message):
    assert message in refusal({"instances": [{**ROW, **changes}]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not"),
        (b"[" * 100_000, "the nesting too deep"),
        (b"[1]", "the body must be an object"),
        ({}, "must have either instances (rows) or inputs (columns)"),
        ({"instances": [ROW], "inputs": COLUMNS}, "must have either"),
        (
            {"instances": [ROW], "signature_name": "other"},
            "no signature 'other'; signatures: examples, serving_default",
        ),
        ({"instances": [ROW], "signature_name": [1]}, "signature_name must be a string"),
        ({"instances": [ROW], "signature_name": None}, "signature_name must be a string"),
        ({"instances": []}, "at least one row"),
        ({"instances": {}}, "must be a list"),
        ({"instances": [ROW, 3]}, "instances[1] must be an object"),
        ({"instances": [{}]}, "instances[0] lacks 'boxes'"),
        ({"inputs": [1]}, "inputs must be an object"),
        ({"inputs": {**COLUMNS, "count": [1, 1]}}, "differ in batch size"),
        ({"signature_name": "examples", "inputs": []}, "empty; batch size must be at least 1"),
        ({"inputs": {**COLUMNS, "question": "one"}}, "question must be a list"),
    ],
)
def test_a_wrong_body_is_refused(body, message):
    assert message in refusal(body)


def test_responses_have_the_form_of_the_request():
    outputs = {
        "answers": np.array([[b"red", b"\xc3\xbc"], [b"no", b"\xff"]], object),
        "scores": np.array([[0.75, 0.25], [0.5, 0.125]], np.float32),
    }
    answers, scores = [["red", "ü"], ["no", "\ufffd"]], outputs["scores"].tolist()
    assert json.loads(format_predict(outputs, by_row=False)) == {
        "outputs": {"answers": answers, "scores": scores}
    }
    assert json.loads(format_predict(outputs, by_row=True)) == {
        "predictions": [{"answers": a, "scores": s} for a, s in zip(answers, scores)]
    }
    del outputs["answers"]
    assert json.loads(format_predict(outputs, by_row=True)) == {"predictions": scores}
    assert json.loads(format_predict(outputs, by_row=False)) == {"outputs": scores}


def test_non_finite_outputs_are_refused():
    with pytest.raises(RequestError, match="scores overflows"):
        format_predict({"scores": np.array([np.nan])}, by_row=True)


def parts(value, path=()):
    """Yield the path of each part of JSON, the whole included."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from parts(value[key], (*path, key))


def changed(value, path, part):
    """Return JSON with another part at a path."""
    if not path:
        return part
    value = value.copy()
    value[path[0]] = changed(value[path[0]], path[1:], part)
    return value


@st.composite
def almost_valid_bodies(draw):
    """Draw a valid body with up to two other parts, and then up to three other bytes."""
    body = {"signature_name": draw(st.sampled_from(["", "examples", "serving_default"]))}
    body |= draw(st.sampled_from([{"instances": [ROW, ROW]}, {"inputs": COLUMNS}]))
    for _ in range(draw(st.integers(0, 2))):
        body = changed(body, draw(st.sampled_from(list(parts(body)))), draw(ODD | ANY_JSON))
    text = bytearray(json.dumps(body), "utf-8")
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        text[draw(st.integers(0, len(text) - 1))] = draw(st.integers(0, 255))
    return bytes(text)


@hypothesis.settings(max_examples=150)
@hypothesis.given(st.binary(max_size=20) | almost_valid_bodies())
def test_any_body_gives_valid_inputs_or_a_line(body):
    try:
        request = parse_predict(body, SIGNATURES)
    except RequestError as error:
        assert error.status == 400
        assert error.reason.strip() and len(error.reason.splitlines()) == 1
        return
    specs = SIGNATURES[request.signature]
    assert request.inputs.keys() == specs.keys()
    for name, spec in specs.items():
        array = request.inputs[name]
        assert array.dtype == spec.dtype and spec.fits(array.shape)
        if spec.dtype == STRING:
            assert all(isinstance(text, bytes) for text in array)
        else:
            assert np.isfinite(array).all()
    assert len({len(array) for array in request.inputs.values()}) == 1
