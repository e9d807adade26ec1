"""A network that an extractor loads when it is first needed."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Network = TypeVar("Network")


class LoadedOnce(Generic[Network]):
    """Returns a network, which the first call loads. Threads that call at the same time share it.

    Args:
        load: Loads the network.
    """

    def __init__(self, load: Callable[[], Network]):
        self._load = load
        self._network: Network | None = None
        self._loading = threading.Lock()

    def __call__(self) -> Network:
        """Return the network.

        Raises:
            Exception: What `load` raises; the next call tries again.
        """
        with self._loading:
            if self._network is None:
                self._network = self._load()
            return self._network
