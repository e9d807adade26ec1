"""Where the servers of commands listen."""

import argparse
import socket

from lxmert_tf.errors import InputError


def add_listening_arguments(parser: argparse.ArgumentParser, port: int, reach: str) -> None:
    """Declare `--host` and `--port`.

    Args:
        parser: The command's parser.
        port: The default port.
        reach: What anyone who can reach the address can do, for the help.
    """
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only). There is no "
        f"password: anyone who can reach the address can {reach}",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=port,
        metavar="N",
        help="port to listen on; 0 picks a free one (default: %(default)s)",
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InputError: The address is in use, or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(f"cannot listen at {host}:{port}: {error.strerror or error}") from error


def url_of(listener: socket.socket) -> str:
    """Return the URL at which a socket listens, without a path."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("must be in 0..65535")
    return number
