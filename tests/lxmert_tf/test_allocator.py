"""What is freed stays in the process."""

import platform
import subprocess
import sys

import pytest

# Fills and frees as much as a large gradient, in a thread as TensorFlow does, and tells how many
# pages the system had to bring once it has been there before.
COUNT_FAULTS = """
import resource, sys, threading
from lxmert_tf.allocator import keep_freed_memory

if sys.argv[1] == "kept":
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

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone"
)


def faults(how: str) -> int:
    command = [sys.executable, "-c", COUNT_FAULTS, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_memory_that_was_freed_needs_no_new_pages():
    assert faults("kept") < PAGES / 100


def test_by_itself_the_c_library_gives_it_back():
    # What the function is there for; where this fails it can go.
    assert faults("given back") > PAGES / 2
