"""Predict requests and responses in TensorFlow Serving's JSON, by row or by column."""

import base64
import binascii
import json
from typing import Any, NamedTuple

import numpy as np

from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.input_spec import STRING, InputSpec, Specs

DEFAULT_SIGNATURE = "serving_default"
INSTANCES, INPUTS, SIGNATURE = "instances", "inputs", "signature_name"
PREDICTIONS, OUTPUTS = "predictions", "outputs"
B64 = "b64"


class PredictRequest(NamedTuple):
    """A valid request.

    Attributes:
        signature: Name of the signature.
        inputs: An array for each input of the signature; texts are bytes objects.
        by_row: Whether the request, and so the response, is by row ("instances").
    """

    signature: str
    inputs: dict[str, np.ndarray]
    by_row: bool


def parse_predict(body: bytes, signatures: dict[str, Specs]) -> PredictRequest:
    """Parse the body of a predict request.

    Keys other than `signature_name`, `instances` and `inputs` are ignored, as TensorFlow Serving
    does. An empty signature name means the default.

    Args:
        body: JSON.
        signatures: Inputs of each signature that can be called.

    Raises:
        RequestError: The body is invalid (status 400); the reason says where.
    """
    content = _object(body)
    name = content.get(SIGNATURE, "")
    if name == "":
        name = DEFAULT_SIGNATURE
    if not isinstance(name, str):
        raise _invalid(f"{SIGNATURE} must be a string")
    if name not in signatures:
        raise _invalid(f"no signature {name!r}; signatures: {', '.join(sorted(signatures))}")
    specs = signatures[name]
    by_row = INSTANCES in content
    columns = _from_rows(content[INSTANCES], specs) if by_row else content[INPUTS]
    if not by_row and len(specs) == 1 and not _names_inputs(columns, specs):
        columns = {next(iter(specs)): columns}
    if not isinstance(columns, dict):
        raise _invalid(f"{INPUTS} must be an object with {', '.join(specs)}")
    # As TensorFlow Serving does, ignore other names here, but not in a row.
    _check_required(columns, specs, INPUTS)
    inputs = {key: _array(columns[key], spec, key) for key, spec in specs.items()}
    _check_batch(inputs, specs)
    return PredictRequest(name, inputs, by_row)


def format_predict(outputs: dict[str, np.ndarray], by_row: bool) -> bytes:
    """Format the body of a response.

    Args:
        outputs: Arrays by name.
        by_row: Whether the request was by row.

    Returns:
        A JSON object with "predictions" (rows) or "outputs" (columns). A single output comes
        without its name.

    Raises:
        RequestError: A number is not finite, which JSON cannot hold (status 400). Very large
            inputs lead to such numbers.
    """
    for name, values in outputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise _invalid(f"{name} overflows; the inputs are too large")
    columns = {name: _json_values(values) for name, values in outputs.items()}
    content: Any = columns
    if len(columns) == 1:
        [content] = columns.values()
    elif by_row:
        content = [dict(zip(columns, row)) for row in zip(*columns.values())]
    body = {PREDICTIONS if by_row else OUTPUTS: content}
    return json.dumps(body, ensure_ascii=False).encode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except UnicodeDecodeError as error:
        raise _invalid(f"the body is not UTF-8 (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise _invalid(f"the body is not JSON: {error}") from error
    except (ValueError, RecursionError) as error:
        raise _invalid(
            "the body is not JSON: a number is too long, or the nesting too deep"
        ) from error
    if not isinstance(content, dict):
        raise _invalid(f"the body must be an object with {INSTANCES} or {INPUTS}")
    if (INSTANCES in content) == (INPUTS in content):
        raise _invalid(f"the body must have either {INSTANCES} (rows) or {INPUTS} (columns)")
    return content


def _from_rows(rows: Any, specs: Specs) -> dict[str, list]:
    if not isinstance(rows, list) or not rows:
        raise _invalid(f"{INSTANCES} must be a list with at least one row")
    if len(specs) == 1:
        [name] = specs
        rows = [row if _names_inputs(row, specs) else {name: row} for row in rows]
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _invalid(f"{INSTANCES}[{number}] must be an object with {', '.join(specs)}")
        _check_required(row, specs, f"{INSTANCES}[{number}]")
        _check_known(row, specs, f"{INSTANCES}[{number}]")
    return {name: [row[name] for row in rows] for name in specs}


def _names_inputs(value: Any, specs: Specs) -> bool:
    return isinstance(value, dict) and (set(value) != {B64} or B64 in specs)


def _check_required(given: dict[str, Any], specs: Specs, where: str) -> None:
    for name in specs:
        if name not in given:
            raise _invalid(f"{where} lacks {name!r}")


def _check_known(given: dict[str, Any], specs: Specs, where: str) -> None:
    for name in given:
        if name not in specs:
            raise _invalid(f"{where} has unknown input {name!r}; inputs: {', '.join(specs)}")


def _array(value: Any, spec: InputSpec, name: str) -> np.ndarray:
    array = _strings(value, name) if spec.dtype == STRING else _numbers(value, spec, name)
    if not spec.fits(array.shape):
        raise _invalid(f"{name} has shape {_shape(array.shape)}; it must be {_shape(spec.shape)}")
    return array


def _numbers(value: Any, spec: InputSpec, name: str) -> np.ndarray:
    wants_integers = spec.dtype.kind == "i"
    # Checked before NumPy converts: it accepts "1" and true as numbers, and pads texts to the
    # length of the longest.
    kinds = _leaf_types(value, len(spec.shape))
    if list in kinds:
        raise _invalid(f"{name} is nested too deeply; it must be {_shape(spec.shape)}")
    if kinds - ({int} if wants_integers else {int, float}):
        kind = "integers" if wants_integers else "numbers"
        raise _invalid(f"{name} must hold only {kind} ({spec.dtype.name})")
    out_of_range = _invalid(
        f"{name} has a number that is not finite or out of range for {spec.dtype.name}"
    )
    try:
        array = np.array(value, np.int64 if wants_integers else np.float64)
    except OverflowError as error:
        raise out_of_range from error
    except ValueError as error:
        raise _invalid(f"{name} is ragged; nested lists must have equal lengths") from error
    # NaN fails both comparisons.
    limits = (np.iinfo if wants_integers else np.finfo)(spec.dtype)
    if not ((array >= limits.min) & (array <= limits.max)).all():
        raise out_of_range
    return array.astype(spec.dtype)


def _leaf_types(value: Any, depth: int) -> set[type]:
    """Return the types inside nested lists, among them `list` if the nesting is deeper."""
    if depth == 0 or not isinstance(value, list):
        return {type(value)}
    types = set(map(type, value))
    if depth == 1 or list not in types:
        return types
    inner = (_leaf_types(part, depth - 1) for part in value if isinstance(part, list))
    return (types - {list}).union(*inner)


def _strings(value: Any, name: str) -> np.ndarray:
    if not isinstance(value, list):
        raise _invalid(f"{name} must be a list of strings")
    strings = np.empty(len(value), object)
    for i, text in enumerate(value):
        strings[i] = _string(text, f"{name}[{i}]")
    return strings


def _string(value: Any, where: str) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise _invalid(
                f"{where} has an unpaired surrogate, which UTF-8 cannot encode"
            ) from error
    if isinstance(value, dict) and set(value) == {B64} and isinstance(value[B64], str):
        # TensorFlow Serving needs no padding and skips white space, such as line breaks.
        text = "".join(value[B64].split()).rstrip("=")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise _invalid(f"{where} is not base64: {error}") from error
    raise _invalid(f'{where} must be a string or {{"{B64}": base64 of bytes}}')


def _check_batch(inputs: dict[str, np.ndarray], specs: Specs) -> None:
    """Check that all inputs have the same batch size and number of regions, and are not empty."""
    # For models of two images, regions are on axis 2.
    for axis, size_of in ((0, "batch size"), (1, "number of regions"), (2, "number of regions")):
        sizes = {
            name: inputs[name].shape[axis]
            for name, spec in specs.items()
            # Axis 1 of a question state is that of word pieces.
            if len(spec.shape) > axis
            and spec.shape[axis] is None
            and (axis == 0 or name != "question_state")
        }
        if 0 in sizes.values():
            raise _invalid(f"inputs are empty; {size_of} must be at least 1")
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{size} in {name}" for name, size in sizes.items())
            raise _invalid(f"inputs differ in {size_of}: {found}")


def _json_values(values: np.ndarray) -> list:
    if values.dtype == object:
        values = np.vectorize(_decoded, otypes=[object])(values)
    return values.tolist()


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _shape(shape) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _invalid(reason: str) -> RequestError:
    return RequestError(400, reason)
