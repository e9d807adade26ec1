"""Requests put together into one call of the model, and its outputs taken apart again."""

from collections.abc import Sequence

import numpy as np

Arrays = dict[str, np.ndarray]
# The axis of regions, in inputs that have one and in this output.
REGION_AXIS = 1
STATE = "image_state"


def merge_inputs(requests: Sequence[Arrays]) -> Arrays:
    """One batch of all rows, in order.

    Images with fewer regions are padded with zeros, which `region_count` hides.
    """
    return {name: _concatenate([request[name] for request in requests]) for name in requests[0]}


def split_outputs(outputs: Arrays, requests: Sequence[Arrays]) -> list[Arrays]:
    """The rows of each request, image states with as many regions as it came with."""
    parts = []
    start = 0
    for request in requests:
        stop = start + rows(request)
        part = {name: values[start:stop] for name, values in outputs.items()}
        if STATE in part:
            part[STATE] = part[STATE][:, : request["region_features"].shape[REGION_AXIS]]
        parts.append(part)
        start = stop
    return parts


def rows(request: Arrays) -> int:
    """How many rows a request has."""
    return len(next(iter(request.values())))


def _concatenate(arrays: list[np.ndarray]) -> np.ndarray:
    if arrays[0].ndim > REGION_AXIS:
        most = max(array.shape[REGION_AXIS] for array in arrays)
        arrays = [_padded(array, most) for array in arrays]
    return np.concatenate(arrays)


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    widths = [(0, 0)] * array.ndim
    widths[REGION_AXIS] = (0, length - array.shape[REGION_AXIS])
    return np.pad(array, widths) if any(widths[REGION_AXIS]) else array
