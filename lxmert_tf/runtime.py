"""Keeps what TensorFlow and its neighbours say of themselves away from what a command says."""

import contextlib
import ctypes
import importlib.util
import logging
import os
import platform
import re
import sys
import tempfile
import warnings

EARLY_LOG_LINE = re.compile(rb"[IWE]\d{4} .*\n|WARNING: All log messages before absl::.*\n")


def silence_tensorflow() -> None:
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
    silence_tensorflow_import()


def silence_tensorflow_import() -> None:
    """Leaves out what TensorFlow 2.21 logs while it is imported, before it knows its log level."""
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _QuietImport())


class _QuietImport:
    """Finds TensorFlow as always, and filters what is said while it is imported."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader.exec_module = self._filtered(spec.loader.exec_module)
        return spec

    def _filtered(self, execute):
        def exec_module(module):
            with _without_early_log_lines():
                execute(module)

        return exec_module


@contextlib.contextmanager
def _without_early_log_lines():
    # It comes from C++, behind the back of sys.stderr.
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            file.seek(0)
            os.write(2, EARLY_LOG_LINE.sub(b"", file.read()))


def _ignore_functions_that_outlive_tensorflow() -> None:
    # TFX keeps models loaded until the interpreter ends; when their functions go, the module that
    # their destructor needs is gone already.
    report = sys.unraisablehook

    def unless_at_the_end(unraisable):
        name = getattr(unraisable.object, "__qualname__", "")
        if name != "AtomicFunction.__del__":
            report(unraisable)

    sys.unraisablehook = unless_at_the_end


# Of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
M_ARENA_MAX = -8
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """To be called by an entry point, before TensorFlow starts threads.

    A tensor of more than a few megabytes is else given back to the system when it is freed, and the
    next one like it is fetched page by page, all zeroed first: at the published size 250,000 times
    a step. The environment variables MALLOC_ARENA_MAX=1, MALLOC_MMAP_MAX_=0 and
    MALLOC_TRIM_THRESHOLD_=2147483647 do the same (mallopt(3)). Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    # One arena: those of threads give back what is free whatever the thresholds.
    libc.mallopt(M_ARENA_MAX, 1)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)


def prefer_onednn() -> None:
    """To be called by a command that trains, before TensorFlow is imported.

    TensorFlow itself takes oneDNN where there is AVX-512. With AVX2 alone its own products are as
    fast forwards, and slower where they give gradients (docs/performance.md). Whoever sets
    TF_ENABLE_ONEDNN_OPTS decides.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
