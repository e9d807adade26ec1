"""The graph as a specification that Kubeflow Pipelines and Vertex AI run."""

import pathlib

from tfx import v1 as tfx

from lxmert_tf.errors import InputError
from pipeline.config import LoadedPipeline
from pipeline.pipeline import create_components

# Where deploy/Dockerfile puts the package.
IMAGE_SCHEMA = "/app/pipeline/schema/scene.pbtxt"


def compile_kubeflow(config: LoadedPipeline, root: str, push_directory: str, image: str, output):
    """Writes the pipeline's specification (JSON, KFP v2); runs nothing.

    Args:
        config: what the pipeline does. Its files must be seen from here, since what they are is
            part of the specification.
        root: where artifacts are kept, for example gs://BUCKET/lxmert.
        push_directory: where blessed models go.
        image: the container with this package, from deploy/Dockerfile.
        output: the file.

    Raises:
        InputError: kfp-pipeline-spec is not installed, the folder of the file is missing, or the
            pipeline asks for infra validation.
    """
    if config.pipeline.infra_validation:
        raise InputError(
            "infra_validation: TFX compiles no InfraValidator for Kubeflow Pipelines and Vertex "
            "AI; leave the key out there"
        )
    try:
        from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as kubeflow
    except ImportError as error:
        raise InputError(
            "the runner kubeflow needs kfp-pipeline-spec; pip install 'lxmert-tf[kubeflow]' "
            "brings it"
        ) from error
    output = pathlib.Path(output)
    if not output.parent.is_dir():
        raise InputError(f"{output}: its folder does not exist")
    pipeline = tfx.dsl.Pipeline(
        pipeline_name=_kubeflow_name(config.pipeline.name),
        pipeline_root=root,
        components=create_components(
            config,
            push_directory,
            schema_file=IMAGE_SCHEMA,
            # Kubeflow knows no strategy of ours; this one finds nothing in the first run there.
            approved_strategy=tfx.dsl.experimental.LatestArtifactStrategy,
        ),
        enable_cache=True,
    )
    kubeflow.KubeflowV2DagRunner(
        config=kubeflow.KubeflowV2DagRunnerConfig(default_image=image),
        output_dir=str(output.parent),
        output_filename=output.name,
    ).run(pipeline, write_out=True)


def _kubeflow_name(name: str) -> str:
    # It takes lower case, digits and hyphens.
    return name.lower().replace("_", "-")
