"""The TFX component that tries a model in TensorFlow Serving before it is pushed."""

import os
import socket
from collections.abc import Sequence

import docker
import requests
from tfx import v1 as tfx

from lxmert_tf.errors import InputError

UNIX = "unix://"
# The number of records in the test request.
EXAMPLES = 3
# The first try may use up its five minutes by downloading the image.
TRIES = 2
ENGINE_TIMEOUT_SECONDS = 10


def infra_validator(examples, model, tags: Sequence[str]) -> tfx.components.InfraValidator:
    """Build the component. Docker is needed only when it runs.

    Args:
        examples: Channel of examples with a `test` split of flat records.
        model: Channel of the model.
        tags: Tags of the Docker image tensorflow/serving; the model must pass in each of them.

    Returns:
        The InfraValidator, with its output `blessing`.
    """
    proto = tfx.proto
    # TFX itself ignores DOCKER_HOST.
    engine = proto.LocalDockerConfig(client_base_url=os.environ.get("DOCKER_HOST", ""))
    return tfx.components.InfraValidator(
        model=model,
        examples=examples,
        serving_spec=proto.ServingSpec(
            tensorflow_serving=proto.TensorFlowServing(tags=tags), local_docker=engine
        ),
        validation_spec=proto.ValidationSpec(num_tries=TRIES),
        request_spec=proto.RequestSpec(
            tensorflow_serving=proto.TensorFlowServingRequestSpec(
                signature_names=["serve_examples"]
            ),
            split_name="test",
            num_examples=EXAMPLES,
        ),
    )


def check_docker_engine() -> None:
    """Check that a Docker engine answers.

    Raises:
        InputError: No engine answers at DOCKER_HOST or Docker's default socket.
    """
    host = os.environ.get("DOCKER_HOST") or f"{UNIX}/var/run/docker.sock"
    try:
        if host.startswith(UNIX):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(host.removeprefix(UNIX))
        docker.DockerClient(base_url=host, timeout=ENGINE_TIMEOUT_SECONDS).ping()
    except (OSError, docker.errors.DockerException) as error:
        raise InputError(
            f"infra_validation needs a running Docker engine; tried {host}: {_reason(error)}; "
            "remove the key infra_validation to push without this check"
        ) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "http+docker" in text:
        # https://github.com/docker/docker-py/issues/3256
        return (
            f"the Python package docker {docker.__version__} cannot open sockets with requests "
            f"{requests.__version__}; upgrade it (pip install 'docker>=7.1')"
        )
    return text
