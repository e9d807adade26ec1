"""What a server, or the way to it, has against a request."""

from lxmert_tf.errors import InputError


class ServerError(InputError):
    """A server that cannot be reached, refuses a request, or answers something else; one line."""
