"""One S3 client for all that Beam reads and writes in a process.

Beam makes a client for each operation, which takes 0.15 s of processor time. To read a few bytes it
requests everything from there to the end of the object, which costs a connection for each image
that is read back. Importing this module changes both, and gives options to workers of Beam's Dask
runner, which has none for them, though it opens nothing in S3 without.
"""

import functools
import os
from typing import Any

from apache_beam.io.aws.clients.s3 import boto3_client, messages
from apache_beam.io.aws.clients.s3.boto3_client import Client as BeamClient
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.options.pipeline_options import PipelineOptions, S3Options
from apache_beam.utils import retry

# So much is requested where reading begins. Most files are opened for their first bytes.
FIRST_BYTES = 1 << 20


class SharedClient(BeamClient):
    """Beam's client of S3, of which there is one per operation and open file.

    All use the same client of boto3.

    Args:
        options: Beam's options.
    """

    def __init__(self, options: PipelineOptions | dict[str, Any]):
        if isinstance(options, PipelineOptions):
            options = options.view_as(S3Options).get_all_options()
        chosen = {name: value for name, value in options.items() if name.startswith("s3_")}
        # boto3 reads the environment when a client is made. A client is not shared with a process
        # that is forked, because its connections would be, too.
        environment = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
        self.client = _boto3_client(
            os.getpid(), frozenset(chosen.items()), frozenset(environment.items())
        )
        self._close_stream()
        self._position = -1

    def get_range(self, request: messages.GetRequest, start: int, end: int) -> bytes:
        """Return the bytes of an object from one position to before another, or fewer.

        What continues the last read comes from a stream up to the end of the object, and what does
        not is requested alone.

        Raises:
            S3ClientError: They cannot be read.
        """
        if start == self._position:
            data = super().get_range(request, start, end)
        else:
            self._close_stream()
            data = self._get_alone(request, start, min(end, start + FIRST_BYTES))
        self._position = start + len(data)
        return data

    @retry.with_exponential_backoff()
    def _get_alone(self, request: messages.GetRequest, start: int, end: int) -> bytes:
        try:
            answer = self.client.get_object(
                Bucket=request.bucket, Key=request.object, Range=f"bytes={start}-{end - 1}"
            )
            return answer["Body"].read()
        except Exception as error:
            code = boto3_client.get_http_error_code(error)
            raise messages.S3ClientError(str(error), code) from None

    def _close_stream(self) -> None:
        stream = getattr(self, "_download_stream", None)
        if stream is not None:
            stream.close()
        self._download_request = self._download_stream = None
        self._download_pos = 0


@functools.lru_cache(maxsize=4)
def _boto3_client(process: int, options: frozenset, environment: frozenset) -> Any:
    """Return the client of boto3 that Beam would make now."""
    return BeamClient(dict(options)).client


def _initialize(self: S3FileSystem, pipeline_options: PipelineOptions | dict | None) -> None:
    # Not `FileSystems.set_options`, which would hide the options that workers of other runners get.
    _initialize_by_beam(self, {} if pipeline_options is None else pipeline_options)


_initialize_by_beam = S3FileSystem.__init__
S3FileSystem.__init__ = _initialize
boto3_client.Client = SharedClient
