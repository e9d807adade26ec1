"""SIGTERM as an exception, so that unfinished output is removed."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from lxmert_tf.errors import Terminated


@contextlib.contextmanager
def raising_terminated() -> Iterator[None]:
    """Raise `Terminated` on the first SIGTERM, which would end the process without any clean-up.

    Later ones do not cut the clean-up short. Does nothing outside the main thread, or if somebody
    handles SIGTERM already.

    Raises:
        Terminated: SIGTERM came.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
