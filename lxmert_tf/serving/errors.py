"""Errors of the server and the client."""

from lxmert_tf.errors import InputError


class RequestError(Exception):
    """A request that the server refuses.

    Args:
        status: HTTP status of the response.
        reason: One line for the client.
    """

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status
        self.reason = reason

    def __reduce__(self):
        # An exception is pickled with the arguments of `Exception`, which lack the status.
        return type(self), (self.status, self.reason)


class ServerError(InputError):
    """A server that cannot be reached, refuses a request, or sends an unexpected response."""


class Unavailable(ServerError):
    """A server that cannot be reached, does not answer in time, or cannot answer now."""
