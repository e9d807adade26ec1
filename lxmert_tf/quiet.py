"""Keeps what TensorFlow and its neighbours say of themselves away from what a command says."""

import os
import warnings


def hush() -> None:
    """To be called by an entry point, before TensorFlow is imported."""
    # 3 leaves fatal errors: TensorFlow 2.15 reports missing CUDA libraries as errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Google's client libraries, which TFX brings, warn once each that Python 3.10 is old.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
