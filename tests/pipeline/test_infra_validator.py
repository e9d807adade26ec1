"""InfraValidator: its place in the pipeline, its requests, and machines without Docker."""

import dataclasses
import importlib.resources
import shutil

import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.infra_validator.executor import Executor
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import channel_utils, standard_artifacts

from lxmert_tf.cli import main as cli
from lxmert_tf.data.batches import find_records, read_records
from lxmert_tf.errors import GateError
from pipeline.components import infra_validator
from pipeline.config import load_pipeline
from pipeline.pipeline import create_components, create_pipeline
from pipeline.root_files import METADATA_FILE
from pipeline.run_record import RunRecord
from pipeline.runners.local import partial_run_options
from tests.pipeline.fake_docker_engine import running_engine
from tests.serving.tiny import make_tiny

CONFIGS = importlib.resources.files("lxmert_tf.configs")
TAGS = "infra_validation: [2.15.1]"


@pytest.fixture
def file(tmp_path):
    """The demo's configuration with infra validation."""
    for folder in ("pipeline", "model", "pretraining", "task"):
        shutil.copytree(CONFIGS / folder, tmp_path / folder)
    path = tmp_path / "pipeline" / "easy_vqa.yaml"
    path.write_text(f"{path.read_text()}{TAGS}\n")
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory)


@pytest.fixture
def artifacts(tiny, tmp_path):
    """A trained model and examples in TFX's layout."""
    model, examples = standard_artifacts.Model(), standard_artifacts.Examples()
    model.uri, examples.uri = str(tmp_path / "model"), str(tmp_path / "examples")
    examples.split_names = '["train", "test"]'
    shutil.copytree(tiny.saved_model, tmp_path / "model" / "Format-Serving")
    split = tmp_path / "examples" / "Split-test"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "records.gz"), "GZIP") as writer:
        for record in read_records(find_records(tiny.flat)):
            writer.write(record.numpy())
    return {"model": [model], "examples": [examples]}


def validate(artifacts, tmp_path) -> types.Artifact:
    """Run the component's executor and return the blessing."""
    channels = {name: channel_utils.as_channel(value) for name, value in artifacts.items()}
    component = infra_validator.infra_validator(**channels, tags=["2.15.1"])
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(tmp_path / "blessing")
    context = BaseExecutor.Context(tmp_dir=str(tmp_path / "tmp"), unique_id="1")
    Executor(context).Do(artifacts, {"blessing": [blessing]}, component.exec_properties)
    return blessing


def test_pusher_waits_for_both_blessings(file):
    without = dataclasses.replace(load_pipeline(file).pipeline, infra_validation=())
    [*_, evaluator, validator, pusher] = create_components(load_pipeline(file), "pushed")
    assert (evaluator.id, validator.id) == ("Evaluator", "InfraValidator")
    assert pusher.inputs["model_blessing"].producer_component_id == "Evaluator"
    assert pusher.inputs["infra_blessing"].producer_component_id == "InfraValidator"
    plain = create_components(dataclasses.replace(load_pipeline(file), pipeline=without), "pushed")
    assert "InfraValidator" not in {component.id for component in plain}
    assert "infra_blessing" not in plain[-1].inputs


def test_partial_run_from_the_validator_resolves_nothing(file, tmp_path):
    path = tmp_path / METADATA_FILE
    path.touch()
    components = create_pipeline(load_pipeline(file), str(tmp_path), str(path), "pushed").components
    options = partial_run_options(components, "InfraValidator", path)
    assert list(options.from_nodes) == ["InfraValidator"]


def test_dry_run_shows_it_without_docker(file, capsys):
    assert cli.main(["pipeline", "run", "--config", str(file), "--dry-run"]) == 0
    assert "│ InfraValidator " in capsys.readouterr().out


def test_server_that_answers_real_records_blesses_the_model(artifacts, tmp_path, monkeypatch, tiny):
    with running_engine() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        infra_validator.check_docker_engine()
        blessing = validate(artifacts, tmp_path)
    assert blessing.get_int_custom_property("blessed") == 1
    assert engine.images == ["tensorflow/serving:2.15.1"]
    assert {r.model_spec.signature_name for r in engine.requests} == {"serve_examples"}
    records = {record.numpy() for record in read_records(find_records(tiny.flat))}
    sent = [tf.make_ndarray(request.inputs["examples"]).item() for request in engine.requests]
    assert len(sent) == infra_validator.EXAMPLES and set(sent) <= records


def test_server_that_fails_every_try_does_not_bless(artifacts, tmp_path, monkeypatch):
    with running_engine(breaks=True) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        blessing = validate(artifacts, tmp_path)
    assert blessing.get_int_custom_property("blessed") == 0
    assert len(engine.images) == infra_validator.TRIES


def test_model_that_failed_infra_validation_was_not_pushed(tmp_path):
    good = tfma.proto.validation_result_pb2.ValidationResult(validation_ok=True)
    with tf.io.TFRecordWriter(str(tmp_path / "validations")) as writer:
        writer.write(good.SerializeToString())
    uris = {("Evaluator", "evaluation"): str(tmp_path)}
    record = RunRecord({}, uris, blessed=True, infra_blessed=False, pushed_to=None, compared=False)
    assert not record.passed
    with pytest.raises(GateError, match=r"was not pushed: TensorFlow Serving could not load"):
        record.check_blessed()
    assert dataclasses.replace(record, infra_blessed=None).passed


@pytest.mark.parametrize("host", ["unix:///no/such/docker.sock", "tcp://127.0.0.1:1", "nonsense"])
def test_machine_without_docker_is_one_line_before_anything_runs(
    file, tmp_path, capsys, monkeypatch, host
):
    monkeypatch.setenv("DOCKER_HOST", host)
    command = ["pipeline", "run", "--config", str(file), "--root", str(tmp_path / "root")]
    assert cli.main(command) == 2
    [line] = capsys.readouterr().err.splitlines()
    start = f"lxmert pipeline: infra_validation needs a running Docker engine; tried {host}: "
    assert line.startswith(start)
    assert line.endswith("; remove the key infra_validation to push without this check")
    assert not (tmp_path / "root").exists()


def test_kubeflow_refuses_it(file, tmp_path, capsys):
    pytest.importorskip(
        "kfp.pipeline_spec.pipeline_spec_pb2", reason="the extra kubeflow is not installed"
    )
    command = ["pipeline", "compile", "--config", str(file), "--runner", "kubeflow"]
    where = ["--root", "gs://b/r", "--image", "i", "--output", str(tmp_path / "p.json")]
    assert cli.main([*command, *where]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "lxmert pipeline: infra_validation: TFX cannot compile InfraValidator for"
    )
