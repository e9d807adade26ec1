"""Settings of the process that commands choose: log output, memory, garbage collection, oneDNN.

Importing this module, or `lxmert_tf`, changes nothing. Each command calls what it wants before it
imports TensorFlow.
"""

import contextlib
import ctypes
import gc
import importlib.util
import io
import logging
import os
import platform
import re
import sys
import tempfile
import warnings

_EARLY_LOG_LINE = re.compile(rb"[IWE]\d{4} .*\n|WARNING: All log messages before absl::.*\n")

# Parameters of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
_NEVER_TRIM = 2**31 - 1


def silence_tensorflow() -> None:
    """Hide the log output of TensorFlow and its companions; errors are still raised.

    Call it before TensorFlow is imported. Settings that the user made in the environment stay.
    """
    # Level 3 leaves fatal errors. TensorFlow 2.15 reports missing CUDA libraries as errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TFX's libraries warn about their own deprecations, TFMA about every SavedModel of tf.Module.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Google's client libraries, which TFX installs, each warn that Python 3.10 is old.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # The same for Beam's worker processes; Beam also warns about how it starts them, and logs the
    # traceback of every exception that it then raises.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning,ignore::DeprecationWarning")
    logging.getLogger("apache_beam.runners.portability").setLevel(logging.ERROR)
    for module in ("common", "worker"):
        logging.getLogger(f"apache_beam.runners.{module}").setLevel(logging.CRITICAL)
    # Pillow logs about damaged images, and gcsfs the traceback of a failed request, and then raise.
    for module in ("PIL", "gcsfs"):
        logging.getLogger(module).setLevel(logging.CRITICAL)
    _ignore_errors_at_exit()
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _QuietImport())


def escape_unprintable() -> None:
    """Print characters that the terminal's encoding lacks as escapes, such as "\\xe9".

    By default Python raises an error. The same goes for bytes of file names that are not text,
    which Python keeps as halves of surrogate pairs.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory in the process instead of returning it to the system.

    For training, which allocates tensors of the same sizes in every step: by default glibc returns
    each tensor of more than a few megabytes and fetches the next one page by page, zeroed first.
    That is 250,000 page faults per step at the published model size, 5 % of its time. The process
    then never shrinks, so servers and ingestion do not want it.

    Call it before TensorFlow starts threads. The environment variables MALLOC_ARENA_MAX=1,
    MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_=2147483647 do the same (see mallopt(3)). Has no
    effect with another C library.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    # The arenas of threads return free memory whatever the thresholds, so there is one arena.
    libc.mallopt(_M_ARENA_MAX, 1)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM)


def collect_garbage_less() -> None:
    """Let Python search its objects for garbage less often.

    Imports make many objects that stay. By default Python searches them again and again, which
    takes 0.2 of the 4.5 s that importing TensorFlow takes (docs/experiments.md), and 7 % of the
    time of an ingestion.
    """
    gc.set_threshold(50_000)


def prefer_onednn() -> None:
    """Let TensorFlow compute with oneDNN, unless TF_ENABLE_ONEDNN_OPTS is set already.

    For training; call it before TensorFlow is imported. By default TensorFlow uses oneDNN only
    where the processor has AVX-512. With AVX2 its own matrix products are as fast in the forward
    pass, but slower in the backward pass: 6 to 14 % of a training step (docs/performance.md).
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


class _QuietImport:
    """Drops what TensorFlow 2.21 logs while it is imported, before it knows its log level."""

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
    # C++ writes to the file descriptor, not to sys.stderr.
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            file.seek(0)
            os.write(2, _EARLY_LOG_LINE.sub(b"", file.read()))


def _ignore_errors_at_exit() -> None:
    # TFX keeps models loaded until the interpreter ends. The destructors of their functions then
    # need a module that is gone already.
    report = sys.unraisablehook

    def report_others(unraisable):
        if getattr(unraisable.object, "__qualname__", "") != "AtomicFunction.__del__":
            report(unraisable)

    sys.unraisablehook = report_others
