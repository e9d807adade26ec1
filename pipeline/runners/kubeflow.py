"""Compile the pipeline for Vertex AI, in the format of Kubeflow Pipelines.

The backend of Kubeflow Pipelines itself has no resolvers, which the pipeline needs.
"""

import pathlib

from tfx import v1 as tfx

from lxmert_tf.errors import InputError
from pipeline.config import LoadedPipeline
from pipeline.pipeline import create_components

# The path in the image of deploy/Dockerfile.
IMAGE_SCHEMA = "/app/pipeline/schema/scene.pbtxt"


def compile_kubeflow(
    config: LoadedPipeline, root: str, push_directory: str, image: str, output
) -> None:
    """Write the specification of the pipeline (JSON, KFP v2) without running it.

    Args:
        config: The pipeline. Its files must be visible here, because their fingerprint is part of
            the specification.
        root: Where artifacts are stored, for example gs://BUCKET/lxmert.
        push_directory: Where blessed models are stored.
        image: The container image with this package, built with deploy/Dockerfile.
        output: The file to write.

    Raises:
        InputError: `kfp-pipeline-spec` is not installed, the output's folder does not exist, or the
            pipeline has infra validation.
    """
    if config.pipeline.infra_validation:
        raise InputError(
            "infra_validation: TFX cannot compile InfraValidator for Kubeflow Pipelines and Vertex "
            "AI; remove the key"
        )
    try:
        from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as kubeflow
    except ImportError as error:
        raise InputError(
            "the runner kubeflow needs kfp-pipeline-spec; pip install 'lxmert-tf[kubeflow]'"
        ) from error
    output = pathlib.Path(output)
    if not output.parent.is_dir():
        raise InputError(f"{output}: no such folder: {output.parent}")
    pipeline = tfx.dsl.Pipeline(
        # Kubeflow accepts lowercase letters, digits and hyphens.
        pipeline_name=config.pipeline.name.lower().replace("_", "-"),
        pipeline_root=root,
        components=create_components(
            config,
            push_directory,
            schema_file=IMAGE_SCHEMA,
            # Kubeflow supports no custom strategies. This one finds nothing in the first run.
            approved_strategy=tfx.dsl.experimental.LatestArtifactStrategy,
        ),
        enable_cache=True,
    )
    kubeflow.KubeflowV2DagRunner(
        config=kubeflow.KubeflowV2DagRunnerConfig(default_image=image),
        output_dir=str(output.parent),
        output_filename=output.name,
    ).run(pipeline, write_out=True)
