"""Why a request to the server is not answered."""

from lxmert_tf.errors import InputError


class RequestError(Exception):
    """A request that is refused; the text is for the one who sent it.

    Args:
        status: of HTTP.
        reason: one line.
    """

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ServerError(InputError):
    """A server that cannot be reached, refuses a request, or answers something else; one line."""
