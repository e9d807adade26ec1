"""What LXMERT-TF needs, and for which part of it.

The library itself is small: TensorFlow and a few packages. TFX, Beam, drawing, the demo's data
and the developers' tools are extras, so that `pip install lxmert-tf` does not bring them.
The versions that were tested together are in requirements/lock-py310.txt.
"""

from pathlib import Path

from setuptools import find_packages, setup

INSTALL_REQUIRES = [
    # TensorFlow Addons supports 2.13 to 2.15 only, and TFX 1.15 is built against 2.15.
    "tensorflow>=2.15,<2.16",
    "tensorflow-text>=2.15,<2.16",
    "h5py",
    "numpy<2",
    "pillow",
    "pydantic>=2",
    "pyyaml",
    "requests",
    "rich",
    "scipy",
    # tensorflow_text imports pkg_resources, which later releases of setuptools no longer have.
    "setuptools<81",
]

# TensorFlow Serving's messages: clients over gRPC, and the warm-up beside pushed models.
GRPC = ["tensorflow-serving-api>=2.15,<2.16"]
SERVE = ["fastapi", "uvicorn"]
PIPELINE = [
    *GRPC,
    "tfx==1.15.1",
    "apache-beam==2.74.0",
    # tfx-bsl imports dill, which Beam no longer brings.
    "dill",
    # TFX builds wheels of user modules with the pip of its own environment.
    "pip",
    # Regions as MMF publishes them; base64 of the text formats, several times as fast as Python's.
    "lmdb",
    "pybase64",
]
# A cluster for `lxmert ingest`.
DASK = ["apache-beam[dask]==2.74.0"]
# What the specification of Kubeflow Pipelines is written with; tfx[kfp] would bring pydantic 1.
KUBEFLOW = ["kfp-pipeline-spec==0.1.16"]
ADDONS = ["tensorflow-addons==0.23.0"]
VISUAL = ["matplotlib"]
DEMO = [*PIPELINE, *VISUAL, "easy-vqa"]
DEV = [
    *DEMO,
    *ADDONS,
    *DASK,
    *KUBEFLOW,
    *SERVE,
    "hypothesis",
    "psutil",
    "pytest",
    "pytest-xdist",
    "ruff",
    "safetensors",
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
    # TFX 1.15 has wheels for no later Python.
    python_requires=">=3.10,<3.11",
    # The YAML files live at the top of the repository, where people look for them, and are
    # installed as the data of lxmert_tf.configs.
    packages=[*find_packages(include=["lxmert_tf*", "pipeline*"]), "lxmert_tf.configs"],
    package_dir={"lxmert_tf.configs": "configs"},
    package_data={"lxmert_tf.configs": ["**/*.yaml"], "pipeline": ["schema/*.pbtxt"]},
    install_requires=INSTALL_REQUIRES,
    extras_require={
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
        "console_scripts": ["lxmert = lxmert_tf.cli:main"],
        # Subcommands. The library's command finds those of the pipeline here without knowing it.
        "lxmert.commands": [
            "ablate = lxmert_tf.commands.ablate",
            "ask = lxmert_tf.commands.ask",
            "attention = lxmert_tf.commands.attention",
            "evaluate = lxmert_tf.commands.evaluate",
            "export-weights = lxmert_tf.commands.export_weights",
            "finetune = lxmert_tf.commands.finetune",
            "import-weights = lxmert_tf.commands.import_weights",
            "ingest = pipeline.commands.ingest",
            "pipeline = pipeline.commands.pipeline",
            "predict = lxmert_tf.commands.predict",
            "pretrain = lxmert_tf.commands.pretrain",
            "rank = lxmert_tf.commands.rank",
            "serve = lxmert_tf.commands.serve",
        ],
    },
)
