"""Keeps what TensorFlow and its neighbours say of themselves away from what a command says."""

import logging
import os
import sys
import warnings


def hush() -> None:
    """To be called by an entry point, before TensorFlow is imported."""
    # 3 leaves fatal errors: TensorFlow 2.15 reports missing CUDA libraries as errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TFX's libraries warn about their own deprecations, TFMA about every SavedModel of tf.Module.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Google's client libraries, which TFX brings, warn once each that Python 3.10 is old.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # The same for the worker processes of Beam, whose own start is a warning to it, too.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning,ignore::DeprecationWarning")
    logging.getLogger("apache_beam.runners.portability").setLevel(logging.ERROR)
    _ignore_functions_that_outlive_tensorflow()


def _ignore_functions_that_outlive_tensorflow() -> None:
    # TFX keeps models loaded until the interpreter ends; when their functions go, the module that
    # their destructor needs is gone already.
    report = sys.unraisablehook

    def unless_at_the_end(unraisable):
        name = getattr(unraisable.object, "__qualname__", "")
        if name != "AtomicFunction.__del__":
            report(unraisable)

    sys.unraisablehook = unless_at_the_end
