"""The batching loop: what arrives while the model computes is its next call."""

import asyncio
import collections
import concurrent.futures
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.server.model_versions import ServedModel

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


class _Waiting(NamedTuple):
    model: ServedModel
    signature: str
    inputs: Arrays
    answer: asyncio.Future


class Batcher:
    """Answers requests of an event loop, as many of them as there are in one call of the model.

    Nobody waits for a batch to fill: a model that is idle answers a request at once.

    Args:
        max_rows: of a batch; a request that has more is one of its own.
    """

    def __init__(self, max_rows: int):
        self._max_rows = max_rows
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._arrived = asyncio.Event()
        # One call at a time: TensorFlow spreads it over the cores by itself.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "model")

    async def run(self, model: ServedModel, signature: str, inputs: Arrays) -> Arrays:
        """The outputs for one request.

        Raises:
            RequestError: what the graph says against the inputs.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(model, signature, inputs, answer))
        self._arrived.set()
        return await answer

    async def work(self) -> None:
        """Answers what arrives, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._take()
            outcomes = await loop.run_in_executor(self._thread, _call, batch)
            for waiting, outcome in zip(batch, outcomes):
                if waiting.answer.done():
                    continue
                if isinstance(outcome, Exception):
                    waiting.answer.set_exception(outcome)
                else:
                    waiting.answer.set_result(outcome)

    def _take(self) -> list[_Waiting]:
        """The first that waits, and all that can go with it."""
        first = self._waiting.popleft()
        batch, left, size = [first], [], rows(first.inputs)
        can_batch = first.model.can_batch(first.signature)
        for other in self._waiting:
            same = other.model is first.model and other.signature == first.signature
            if can_batch and same and size + rows(other.inputs) <= self._max_rows:
                batch.append(other)
                size += rows(other.inputs)
            else:
                left.append(other)
        self._waiting = collections.deque(left)
        if not left:
            self._arrived.clear()
        return batch


def _call(batch: list[_Waiting]) -> list[Arrays | Exception]:
    model, signature = batch[0].model, batch[0].signature
    requests = [waiting.inputs for waiting in batch]
    try:
        outputs = model.run(signature, merge_inputs(requests))
        return split_outputs(outputs, requests) if len(batch) > 1 else [outputs]
    except RequestError as error:
        # One of them is at fault: it alone is refused.
        return [error] if len(batch) == 1 else [_call([waiting])[0] for waiting in batch]
    except Exception as error:
        return [error] * len(batch)
