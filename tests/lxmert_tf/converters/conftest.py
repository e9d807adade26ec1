"""Tiny models and their checkpoints, made once for all tests of the converters."""

import functools

import numpy as np
import pytest

from lxmert_tf import LxmertConfig
from lxmert_tf.converters.exporting import export_weights
from tests import golden
from tests.lxmert_tf.converters.keras_h5_layout import write_h5_directory

TINY = LxmertConfig.from_dict(golden.TINY)


@pytest.fixture(scope="session")
def tiny_model():
    """A function that returns the tiny model of a class, with random weights."""

    @functools.cache
    def build(cls):
        model = cls(TINY)
        # Initial biases are all zero, which would hide that one is copied to another.
        random = np.random.default_rng(3)
        model.set_weights([random.normal(size=variable.shape) for variable in model.weights])
        return model

    return build


@pytest.fixture(scope="session")
def checkpoint(tiny_model, tmp_path_factory):
    """A function that returns the checkpoint of the tiny model of a class.

    Its formats are those of `export_weights` and "h5", a directory of TensorFlow's transformers.
    Tests do not change the files.
    """

    @functools.cache
    def write(cls, format):
        path = tmp_path_factory.mktemp("checkpoints") / f"{cls.__name__}.{format}"
        if format == "h5":
            return write_h5_directory(tiny_model(cls), path)
        export_weights(tiny_model(cls), format, path)
        return path

    return write
