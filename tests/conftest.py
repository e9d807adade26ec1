"""Shared by all tests: seeds, deprecations as errors, and skips where TFX cannot be installed."""

import gc
import importlib.util
import logging
import pathlib
import platform
import re
import sys

import hypothesis
import pytest

# Machines stand still at times; no test asserts a time.
hypothesis.settings.register_profile("no_deadline", deadline=None, max_examples=50)
hypothesis.settings.load_profile("no_deadline")
# Python would look for garbage in all modules again and again.
gc.set_threshold(50_000)

ROOT = pathlib.Path(__file__).parents[1]
OURS = re.compile(rf"From {re.escape(str(ROOT))}/(lxmert_tf|pipeline|tests)/.* deprecated", re.S)

# TFX and the packages it brings.
TFX = {"ml_metadata", "pandas", "tensorflow_data_validation", "tensorflow_metadata"}
TFX |= {"tensorflow_model_analysis", "tfx"}
GLIBC = tuple(map(int, (platform.libc_ver()[1] or "0").split(".")))
TFX_CANNOT_BE_HERE = sys.version_info >= (3, 11) and GLIBC < (2, 39)


class _OurDeprecations(logging.Handler):
    """Turns TensorFlow's log messages about deprecated calls from our code into errors."""

    def emit(self, record):
        if OURS.match(record.getMessage()):
            raise DeprecationWarning(record.getMessage())


class _Module(pytest.Module):
    """A test file that is skipped if it needs TFX and TFX cannot be installed."""

    def collect(self):
        try:
            return super().collect()
        except self.CollectError as error:
            missing = getattr(error.__cause__, "name", None) or ""
            if TFX_CANNOT_BE_HERE and missing.split(".")[0] in TFX:
                _skip_without_tfx(allow_module_level=True)
            raise


def pytest_configure(config):
    logging.getLogger("tensorflow").addHandler(_OurDeprecations())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Seed TensorFlow, so that tests draw the same numbers (a layer's weights) in any order."""
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].keras.utils.set_random_seed(0)


def pytest_pycollect_makemodule(module_path, parent):
    return _Module.from_parent(parent, path=module_path)


@pytest.fixture
def tfx():
    """Skip a test that needs TFX, in a file whose other tests do not."""
    if TFX_CANNOT_BE_HERE and not importlib.util.find_spec("tfx"):
        _skip_without_tfx()


def _skip_without_tfx(**options):
    pytest.skip(f"TFX 1.21 needs glibc 2.39, and this is {'.'.join(map(str, GLIBC))}", **options)
