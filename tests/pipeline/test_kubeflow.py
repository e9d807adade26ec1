"""The specification for Kubeflow Pipelines: compiled, not run."""

import importlib.resources
import json

import pytest

from lxmert_tf.cli import main as cli

CONFIG = importlib.resources.files("lxmert_tf.configs") / "pipeline" / "easy_vqa.yaml"
IMAGE = "registry.example/lxmert-tf:1"
COMMAND = (
    *("pipeline", "compile", "--config", str(CONFIG), "--runner", "kubeflow"),
    *("--root", "gs://bucket/lxmert", "--image", IMAGE),
)


@pytest.fixture
def specification(tmp_path):
    pytest.importorskip(
        "kfp.pipeline_spec.pipeline_spec_pb2", reason="the extra kubeflow is not installed"
    )
    path = tmp_path / "pipeline.json"
    assert cli.main([*COMMAND, "--output", str(path)]) == 0
    return json.loads(path.read_text())["pipelineSpec"]


def test_pipeline_compiles_for_kubeflow(specification):
    assert specification["pipelineInfo"]["name"] == "easy-vqa"
    tasks = specification["root"]["dag"]["tasks"]
    assert {"SceneExampleGen", "StatisticsGen", "AnomalyGate", "Trainer", "Pusher"} <= set(tasks)
    # The schema has its path in the image, not on this machine.
    schema = tasks["ImportSchemaGen"]["inputs"]["parameters"]["schema_file"]
    assert "/app/pipeline/schema/scene.pbtxt" in json.dumps(schema)
    # The data must pass before training.
    for trainer in ("Pretrainer", "Trainer"):
        assert "AnomalyGate" in tasks[trainer]["dependentTasks"]


def test_every_step_runs_in_the_image(specification):
    executors = specification["deploymentSpec"]["executors"].values()
    containers = [one["container"] for one in executors if "container" in one]
    assert {container["image"] for container in containers} == {IMAGE}
    assert len(containers) >= 8


def test_the_types_of_all_artifacts_can_be_imported_in_the_image(specification):
    from kfp.pipeline_spec.pipeline_spec_pb2 import ArtifactTypeSchema
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as entrypoint
    from tfx.utils.import_utils import import_class_by_path

    paths = set()
    for component in specification["components"].values():
        for side in ("inputDefinitions", "outputDefinitions"):
            for artifact in component.get(side, {}).get("artifacts", {}).values():
                schema = ArtifactTypeSchema(
                    instance_schema=artifact["artifactType"]["instanceSchema"]
                )
                paths.add(entrypoint._retrieve_class_path(schema))
    assert "pipeline.ApprovedStatistics" in paths
    for path in paths:
        import_class_by_path(path)


def test_output_in_a_missing_folder_is_refused(tmp_path, capsys):
    pytest.importorskip(
        "kfp.pipeline_spec.pipeline_spec_pb2", reason="the extra kubeflow is not installed"
    )
    assert cli.main([*COMMAND, "--output", str(tmp_path / "none" / "p.json")]) == 2
    assert "no such folder" in capsys.readouterr().err
