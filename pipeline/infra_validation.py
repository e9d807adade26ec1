"""Whether TensorFlow Serving itself loads a model and answers, asked before the push."""

import os
import socket
from collections.abc import Sequence

import docker
import requests
from tfx import v1 as tfx

from lxmert_tf.errors import InputError

KEY = "infra_validation"
UNIX = "unix://"
# Records that it is asked about.
EXAMPLES = 3
# The first try may spend its five minutes on fetching the image.
TRIES = 2
# Seconds for the engine to answer.
TIMEOUT = 10


def infra_validator(examples, model, tags: Sequence[str]) -> tfx.components.InfraValidator:
    """The component; Docker is not asked for before it runs.

    Args:
        examples: with a split `test` of flat records, of which some are sent.
        model: channel of the model.
        tags: of the image tensorflow/serving, each of which must pass.
    """
    proto = tfx.proto
    # TFX alone would not look at DOCKER_HOST.
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
    """Raises InputError, with what was tried, unless a Docker engine answers."""
    host = os.environ.get("DOCKER_HOST") or f"{UNIX}/var/run/docker.sock"
    try:
        if host.startswith(UNIX):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(host.removeprefix(UNIX))
        docker.DockerClient(base_url=host, timeout=TIMEOUT).ping()
    except (OSError, docker.errors.DockerException) as error:
        raise InputError(
            f"{KEY} needs a running Docker engine; tried {host}: {_reason(error)}; without the key "
            f"{KEY} the model is pushed without this check"
        ) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "http+docker" in text:
        # https://github.com/docker/docker-py/issues/3256
        return (
            f"the Python package docker {docker.__version__} knows no sockets beside requests "
            f"{requests.__version__}, docker 7.1 does (pip install 'docker>=7.1')"
        )
    return text
