"""Keras 2 on either stack: of TensorFlow 2.15, or the package tf_keras."""

import importlib.util
import subprocess
import sys

import pytest

NEEDS_TF_KERAS = pytest.mark.skipif(
    not importlib.util.find_spec("tf_keras"), reason="TensorFlow 2.15 has Keras 2 itself"
)


def run(code):
    """In a process in which nothing has said which Keras it is to be."""
    code = f"import os\nos.environ.pop('TF_USE_LEGACY_KERAS', None)\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.slow
def test_the_library_says_that_keras_is_version_2():
    done = run("import lxmert_tf\nfrom tensorflow import keras\nprint(hasattr(keras, 'version'))")
    assert done.stdout == "False\n", done.stderr


@pytest.mark.slow
@NEEDS_TF_KERAS
def test_keras_3_in_use_is_refused_with_the_remedy():
    done = run("import tensorflow_text\nimport lxmert_tf")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: TensorFlow uses Keras 3 already: import lxmert_tf before tensorflow_text "
        "and tfx, and before tf.keras is used, or set TF_USE_LEGACY_KERAS=1"
    )
