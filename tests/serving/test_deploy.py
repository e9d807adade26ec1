"""The files of deploy/ are consistent, as far as can be checked without TensorFlow Serving."""

import pathlib
import re

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def model():
    text = (DEPLOY / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    return model


def flags(service):
    return dict(flag.removeprefix("--").split("=") for flag in service["command"])


def mounts(service):
    return {target: source for source, target, _ in (v.split(":") for v in service["volumes"])}


def test_every_file_that_a_flag_names_is_mounted_from_here(services):
    for service in services.values():
        files = {k: v for k, v in flags(service).items() if k.endswith("_file")}
        assert files
        for path in files.values():
            assert (DEPLOY / mounts(service)[path]).is_file()


def test_models_are_where_the_pipeline_pushes_them(services, model):
    for service in services.values():
        assert (DEPLOY / mounts(service)["/models"]).resolve().name == "saved_models"
    assert model.base_path == f"/models/{model.name}"


def test_labels_name_versions_that_are_served(services, model):
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)
    for service in services.values():
        assert flags(service)["allow_version_labels_for_unavailable_models"] == "true"


def test_ports_are_open_to_this_machine_alone_and_differ(services):
    ports = [port for service in services.values() for port in service["ports"]]
    assert len(set(ports)) == len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_batching_pads_and_one_service_does_not_batch(services):
    batching = text_format.Parse((DEPLOY / "batching.config").read_text(), batching_parameters())
    assert batching.max_batch_size.value > 1
    assert batching.pad_variable_length_inputs
    assert not batching.allowed_batch_sizes
    assert ["enable_batching" in flags(s) for s in services.values()] == [True, False]


def batching_parameters():
    """Return a message of TensorFlow Serving that its Python package does not include."""
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", package="test", dependency=[wrappers_pb2.DESCRIPTOR.name]
    )
    message = file.message_type.add(name="BatchingParameters")
    numbers = (
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
    )
    field = descriptor_pb2.FieldDescriptorProto
    for number, name in enumerate(numbers, start=1):
        wrapper = ".google.protobuf.Int64Value"
        message.field.add(
            name=name, number=number, label=1, type=field.TYPE_MESSAGE, type_name=wrapper
        )
    message.field.add(name="allowed_batch_sizes", number=6, label=3, type=field.TYPE_INT64)
    message.field.add(name="pad_variable_length_inputs", number=7, label=1, type=field.TYPE_BOOL)
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    return message_factory.GetMessages([wrappers, file])["test.BatchingParameters"]()


def test_the_image_is_built_from_files_that_docker_gets():
    root = DEPLOY.parent
    ignored = (root / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copies = re.findall(r"^COPY (.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    files = [file for copy in copies for file in copy.split()]
    assert {pathlib.PurePath(file).parts[0] for file in files} == sent
    for file in files:
        assert (root / file).exists(), f"no such file: {file}"
