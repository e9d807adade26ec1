"""What is freed stays in the process."""

import platform
import subprocess
import sys

import pytest

# Fills and frees as much as a large gradient, in a thread as TensorFlow does, and tells how many
# pages the system had to bring once it has been there before.
COUNT_FAULTS = """
import resource, threading
from lxmert_tf.runtime import keep_freed_memory

keep_freed_memory()

def use():
    bytearray(b"x") * 100_000_000

def faults():
    thread = threading.Thread(target=use)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""
PAGES = 100_000_000 // 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_memory_that_was_freed_needs_no_new_pages():
    command = [sys.executable, "-c", COUNT_FAULTS]
    faults = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(faults) < PAGES / 100
