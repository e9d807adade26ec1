"""The OpenAPI document of the server, from the signatures of the model that it serves.

Format: OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0), whose schemas are JSON Schema 2020-12.
"""

import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import lxmert_tf
from lxmert_tf.serving.server.metrics import METRICS_PATH
from lxmert_tf.serving.server.predict_json import (
    B64,
    DEFAULT_SIGNATURE,
    INPUTS,
    INSTANCES,
    OUTPUTS,
    PREDICTIONS,
    SIGNATURE,
)
from lxmert_tf.serving.server.served_model import ServedModel

PATH = "/openapi.json"

# A JSON Schema, or another part of the document.
Schema = dict[str, Any]

_OBJECT: Schema = {"type": "object"}
_INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
_FLOAT32_MAX = 3.4028234663852886e38
_FLOAT32: Schema = {"type": "number", "minimum": -_FLOAT32_MAX, "maximum": _FLOAT32_MAX}
# Texts in requests are strings or base64 of bytes; in responses they are strings.
_BASE64: Schema = {
    "type": "object",
    "properties": {B64: {"type": "string", "contentEncoding": "base64"}},
    "required": [B64],
    "additionalProperties": False,
}
_OUTPUT_TYPES: dict[str, Schema] = {
    "DT_FLOAT": _FLOAT32,
    "DT_INT32": _INT32,
    "DT_STRING": {"type": "string"},
}
_INPUT_TYPES: dict[str, Schema] = {
    **_OUTPUT_TYPES,
    "DT_STRING": {"anyOf": [{"type": "string"}, _BASE64]},
}

_ERRORS = {
    "400": "The request is not valid.",
    "404": "The version is not served.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The Content-Encoding is not supported.",
    "503": "The server is busy or shutting down; try again later.",
}


def describe_api(name: str, model: ServedModel) -> Schema:
    """Return the OpenAPI document.

    Args:
        name: Name of the model in paths.
        model: The newest version, whose signatures are described.
    """
    # Quoted, because paths may have no blanks, and braces are for parameters.
    path = f"/v1/models/{urllib.parse.quote(name)}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lxmert serve",
            "version": lxmert_tf.__version__,
            "description": "The REST API of TensorFlow Serving for one model.",
        },
        "paths": {
            **_model_paths(path, "the newest version", []),
            **_model_paths(
                f"{path}/versions/{{version}}", "a version", [_path_parameter("version")]
            ),
            **_model_paths(
                f"{path}/labels/{{label}}", "the version with a label", [_path_parameter("label")]
            ),
            "/healthz": {"get": _operation("Whether the process answers", _OBJECT)},
            "/readyz": {"get": _operation("Whether requests are taken", _OBJECT, "503")},
            METRICS_PATH: {"get": _operation("Metrics for Prometheus", media_type="text/plain")},
            PATH: {"get": _operation("This document", _OBJECT)},
        },
        "components": {
            "schemas": {
                "PredictRequest": {"anyOf": [*_requests(model.metadata, model.specs)]},
                "PredictResponse": {"anyOf": [*_responses(model.metadata, model.specs)]},
                "Error": _object({"error": {"type": "string"}}),
            }
        },
    }


def _model_paths(path: str, which: str, parameters: list[Schema]) -> Schema:
    shared = {"parameters": parameters} if parameters else {}
    predict = _operation(f"Call {which}", _reference("PredictResponse"), *_ERRORS)
    predict["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": _reference("PredictRequest")}},
    }
    return {
        path: {**shared, "get": _operation(f"State of {which}", _OBJECT, "404")},
        f"{path}/metadata": {
            **shared,
            "get": _operation(f"Signatures of {which}", _OBJECT, "404"),
        },
        f"{path}:predict": {**shared, "post": predict},
    }


def _operation(
    summary: str,
    schema: Schema | None = None,
    *errors: str,
    media_type: str = "application/json",
) -> Schema:
    content = {media_type: {"schema": schema or {"type": "string"}}}
    responses: Schema = {"200": {"description": "OK", "content": content}}
    for status in errors:
        content = {"application/json": {"schema": _reference("Error")}}
        responses[status] = {"description": _ERRORS[status], "content": content}
    return {"summary": summary, "responses": responses}


def _requests(signatures: Mapping[str, Any], names: Iterable[str]) -> Iterator[Schema]:
    """Yield the schemas of a request by row and by column, for each signature."""
    for name in sorted(names):
        inputs = signatures[name]["inputs"]
        row = _object({key: _array(info, _INPUT_TYPES, 1) for key, info in inputs.items()})
        row["additionalProperties"] = False
        columns = _object({key: _array(info, _INPUT_TYPES) for key, info in inputs.items()})
        rows = {"type": "array", "items": _or_single(row), "minItems": 1}
        for key, other, schema in ((INSTANCES, INPUTS, rows), (INPUTS, INSTANCES, columns)):
            request = _object({key: schema if key == INSTANCES else _or_single(schema)})
            request["title"] = f"{name}, {key}"
            request["properties"][SIGNATURE] = {"const": name}
            if name == DEFAULT_SIGNATURE:
                request["properties"][SIGNATURE] = {"enum": ["", name]}
            else:
                request["required"].append(SIGNATURE)
            request["not"] = {"required": [other]}
            yield request


def _responses(signatures: Mapping[str, Any], names: Iterable[str]) -> Iterator[Schema]:
    """Yield the schemas of the response to a request by row and by column, for each signature."""
    for name in sorted(names):
        outputs = signatures[name]["outputs"]
        row = _object({key: _array(info, _OUTPUT_TYPES, 1) for key, info in outputs.items()})
        columns = _object({key: _array(info, _OUTPUT_TYPES) for key, info in outputs.items()})
        rows = {"type": "array", "items": _without_single_name(row)}
        for key, schema in ((PREDICTIONS, rows), (OUTPUTS, _without_single_name(columns))):
            yield {**_object({key: schema}), "title": f"{name}, {key}"}


def _or_single(schema: Schema) -> Schema:
    """Return the schema of inputs; a single input may come without its name."""
    values = [*schema["properties"].values()]
    return {"anyOf": [schema, *values]} if len(values) == 1 else schema


def _without_single_name(schema: Schema) -> Schema:
    """Return the schema of outputs; a single output comes without its name."""
    values = [*schema["properties"].values()]
    return values[0] if len(values) == 1 else schema


def _array(info: Mapping[str, Any], types: Mapping[str, Schema], first_axis: int = 0) -> Schema:
    """Return the schema of a tensor, from the first of its axes that counts."""
    schema = types.get(info["dtype"], {})
    sizes = [int(axis["size"]) for axis in info["tensor_shape"]["dim"]]
    for size in reversed(sizes[first_axis:]):
        schema = {"type": "array", "items": schema, "minItems": max(size, 1)}
        if size >= 0:
            schema["maxItems"] = size
    return schema


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
