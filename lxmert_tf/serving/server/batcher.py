"""Request batching: requests that arrive while the model computes form its next call."""

import asyncio
import collections
import concurrent.futures
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lxmert_tf.serving.errors import RequestError
from lxmert_tf.serving.server.served_model import ServedModel

Arrays = dict[str, np.ndarray]
STATE = "image_state"


def merge_inputs(requests: Sequence[Arrays]) -> Arrays:
    """Concatenate requests into one batch.

    Args:
        requests: Inputs by name, with a batch axis. Images with fewer regions are padded with
            zeros, which `region_count` masks.
    """
    return {name: _concatenate([request[name] for request in requests]) for name in requests[0]}


def split_outputs(outputs: Arrays, requests: Sequence[Arrays]) -> list[Arrays]:
    """Split the outputs of a batch into those of its requests.

    Args:
        outputs: Outputs of the model for `merge_inputs(requests)`.
        requests: The requests; image states are cut to as many regions as the request has.
    """
    parts = []
    start = 0
    for request in requests:
        stop = start + row_count(request)
        part = {name: values[start:stop] for name, values in outputs.items()}
        if STATE in part:
            part[STATE] = part[STATE][:, : request["region_features"].shape[1]]
        parts.append(part)
        start = stop
    return parts


def row_count(request: Arrays) -> int:
    """Return the batch size of a request."""
    return len(next(iter(request.values())))


def _concatenate(arrays: list[np.ndarray]) -> np.ndarray:
    # Apart from the batch axis, only the number of regions differs between requests.
    largest = np.max([array.shape[1:] for array in arrays], axis=0)
    return np.concatenate([_pad(array, largest) for array in arrays])


def _pad(array: np.ndarray, shape: np.ndarray) -> np.ndarray:
    missing = shape - array.shape[1:]
    return np.pad(array, [(0, 0), *((0, int(n)) for n in missing)]) if missing.any() else array


class _Waiting(NamedTuple):
    model: ServedModel
    signature: str
    inputs: Arrays
    answer: asyncio.Future


class Batcher:
    """Answers the requests of an event loop, as many as possible per call of the model.

    No request waits for a batch to fill: an idle model answers at once.

    Args:
        max_rows: Largest batch size. A larger request becomes a batch of its own.
        record_call: Called with the seconds of each call of the model.
    """

    def __init__(self, max_rows: int, record_call: Callable[[float], None]):
        self._max_rows = max_rows
        self._record_call = record_call
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._arrived = asyncio.Event()
        # One call at a time: the engine itself uses all cores for it.
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "model")

    async def run(self, model: ServedModel, signature: str, inputs: Arrays) -> Arrays:
        """Return the outputs for one request.

        Args:
            model: The model to call.
            signature: Name of the signature.
            inputs: Its inputs by name.

        Raises:
            RequestError: The model refuses the inputs.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(model, signature, inputs, answer))
        self._arrived.set()
        return await answer

    async def work(self) -> None:
        """Answer requests until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._take_batch()
            started = time.perf_counter()
            outcomes = await loop.run_in_executor(self._thread, _call_model, batch)
            self._record_call(time.perf_counter() - started)
            for waiting, outcome in zip(batch, outcomes):
                if waiting.answer.done():
                    continue
                if isinstance(outcome, Exception):
                    waiting.answer.set_exception(outcome)
                else:
                    waiting.answer.set_result(outcome)

    def _take_batch(self) -> list[_Waiting]:
        """Remove the first request from the queue, with all that can share its call."""
        first = self._waiting.popleft()
        batch, left, size = [first], [], row_count(first.inputs)
        can_batch = first.model.can_batch(first.signature)
        for other in self._waiting:
            same = other.model is first.model and other.signature == first.signature
            if can_batch and same and size + row_count(other.inputs) <= self._max_rows:
                batch.append(other)
                size += row_count(other.inputs)
            else:
                left.append(other)
        self._waiting = collections.deque(left)
        if not left:
            self._arrived.clear()
        return batch


def _call_model(batch: list[_Waiting]) -> list[Arrays | Exception]:
    model, signature = batch[0].model, batch[0].signature
    requests = [waiting.inputs for waiting in batch]
    try:
        outputs = model.run(signature, merge_inputs(requests))
        return list(split_outputs(outputs, requests)) if len(batch) > 1 else [outputs]
    except RequestError as error:
        # Only the invalid request is refused, so each is called alone.
        return [error] if len(batch) == 1 else [_call_model([waiting])[0] for waiting in batch]
    except Exception as error:
        return [error] * len(batch)
