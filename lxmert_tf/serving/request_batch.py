"""Requests put together into one call of the model, and its outputs taken apart again."""

from collections.abc import Sequence

import numpy as np

Arrays = dict[str, np.ndarray]
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
            part[STATE] = part[STATE][:, : request["region_features"].shape[1]]
        parts.append(part)
        start = stop
    return parts


def rows(request: Arrays) -> int:
    """How many rows a request has."""
    return len(next(iter(request.values())))


def _concatenate(arrays: list[np.ndarray]) -> np.ndarray:
    # Behind the rows only the number of regions differs from request to request.
    most = np.max([array.shape[1:] for array in arrays], axis=0)
    return np.concatenate([_padded(array, most) for array in arrays])


def _padded(array: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    missing = sizes - array.shape[1:]
    return np.pad(array, [(0, 0), *((0, int(n)) for n in missing)]) if missing.any() else array
