"""What LXMERT-TF needs, and for which part of it.

The library itself is small: TensorFlow and a few packages. TFX, Beam, drawing, the demo's data
and the developers' tools are extras, so that `pip install lxmert-tf` does not bring them.
The versions that were tested together are in requirements/lock-*.txt.
"""

from pathlib import Path

from setuptools import find_packages, setup

# Two sets that were tested together, by the version of Python: that of TensorFlow 2.15, with which
# TensorFlow Addons and TFX 1.15 work, and that of TensorFlow 2.21.
DEFAULT = 'python_version < "3.11"'
TODAY = 'python_version >= "3.11"'

INSTALL_REQUIRES = [
    # TensorFlow Addons supports 2.13 to 2.15 only, and TFX 1.15 is built against 2.15.
    f"tensorflow>=2.15,<2.16; {DEFAULT}",
    f"tensorflow-text>=2.15,<2.16; {DEFAULT}",
    f"tensorflow>=2.21,<2.22; {TODAY}",
    f"tensorflow-text>=2.21,<2.22; {TODAY}",
    # Keras 2, which TensorFlow itself no longer has; the TensorBoard callback's package, too.
    f"tf-keras>=2.21,<2.22; {TODAY}",
    f"tensorboard; {TODAY}",
    "h5py",
    f"numpy<2; {DEFAULT}",
    f"numpy; {TODAY}",
    "pillow",
    "pydantic>=2",
    "pyyaml",
    "requests",
    "rich",
    "safetensors",
    "scipy",
    # The tensorflow_text of 2.15 imports pkg_resources, which later setuptools no longer have.
    f"setuptools<81; {DEFAULT}",
]

# TensorFlow Serving's messages: clients over gRPC, and the warm-up beside pushed models.
GRPC = [
    f"tensorflow-serving-api>=2.15,<2.16; {DEFAULT}",
    f"tensorflow-serving-api>=2.19; {TODAY}",
]
SERVE = ["fastapi", "uvicorn"]
# The Beam job, which needs nothing of TFX.
INGEST = [
    f"apache-beam==2.74.0; {DEFAULT}",
    f"apache-beam>=2.77; {TODAY}",
    # Without it this Beam warns at each start, and its worker processes tell all that they do.
    f"google-apitools; {TODAY}",
    # Regions as MMF publishes them; base64 of the text formats, several times as fast as Python's.
    "lmdb",
    "pybase64",
]
PIPELINE = [
    *GRPC,
    *INGEST,
    f"tfx==1.15.1; {DEFAULT}",
    # Its ml-metadata and TFDV want glibc 2.39 or newer.
    f"tfx==1.21.0; {TODAY}",
    # tfx-bsl imports dill, which Beam no longer brings.
    "dill",
    # TFX builds wheels of user modules with the pip of its own environment.
    "pip",
]
# A cluster for `lxmert ingest`.
DASK = [f"apache-beam[dask]==2.74.0; {DEFAULT}", f"apache-beam[dask]>=2.77; {TODAY}"]
# What the specification of Kubeflow Pipelines is written with; tfx[kfp] would bring pydantic 1.
KUBEFLOW = [f"kfp-pipeline-spec==0.1.16; {DEFAULT}", f"kfp-pipeline-spec; {TODAY}"]
ADDONS = [f"tensorflow-addons==0.23.0; {DEFAULT}"]
VISUAL = ["matplotlib"]
DATA = ["easy-vqa"]
DEMO = [*PIPELINE, *VISUAL, *DATA]
# All that the tests of the library and of `lxmert ingest` need; those of the pipeline want DEMO and
# KUBEFLOW as well.
DEV = [
    *GRPC,
    *INGEST,
    *VISUAL,
    *DATA,
    *ADDONS,
    *DASK,
    *SERVE,
    "hypothesis",
    "psutil",
    "pytest",
    "pytest-xdist",
    "ruff",
]

README = Path(__file__).parent / "README.md"

setup(
    name="lxmert-tf",
    version="0.1.0",
    description="LXMERT, questions answered about images, in TensorFlow: a Keras library "
    "and a TFX pipeline from region features to a served model",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="LXMERT-TF contributors",
    license="MIT",
    python_requires=">=3.10,<3.14",
    # The YAML files live at the top of the repository, where people look for them, and are
    # installed as the data of lxmert_tf.configs.
    packages=[*find_packages(include=["lxmert_tf*", "pipeline*"]), "lxmert_tf.configs"],
    package_dir={"lxmert_tf.configs": "configs"},
    package_data={"lxmert_tf.configs": ["**/*.yaml"], "pipeline": ["schema/*.pbtxt"]},
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "ingest": INGEST,
        "pipeline": PIPELINE,
        "addons": ADDONS,
        "dask": DASK,
        "kubeflow": KUBEFLOW,
        "grpc": GRPC,
        "serve": SERVE,
        "visual": VISUAL,
        "demo": DEMO,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": ["lxmert = lxmert_tf.cli.main:main"],
        # Subcommands. The library's command finds those of the pipeline here without knowing it.
        "lxmert.commands": [
            "ablate = lxmert_tf.cli.ablate",
            "ask = lxmert_tf.cli.ask",
            "attention = lxmert_tf.cli.attention",
            "benchmark = lxmert_tf.cli.benchmark",
            "evaluate = lxmert_tf.cli.evaluate",
            "export = lxmert_tf.cli.export",
            "export-weights = lxmert_tf.cli.export_weights",
            "finetune = lxmert_tf.cli.finetune",
            "import-weights = lxmert_tf.cli.import_weights",
            "ingest = pipeline.commands.ingest",
            "pipeline = pipeline.commands.pipeline",
            "predict = lxmert_tf.cli.predict",
            "pretrain = lxmert_tf.cli.pretrain",
            "rank = lxmert_tf.cli.rank",
            "serve = lxmert_tf.cli.serve",
        ],
    },
)
