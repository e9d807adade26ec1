"""Each stack reads what the other wrote, with the same results (TensorFlow 2.21 and 2.15).

The tests of STACK=today test both directions.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.stacks.exchanged import READ, WRITTEN, Exchanged

ROOT = pathlib.Path(__file__).parents[2]
OTHER = ROOT / ".venv" / "bin" / "python"

if sys.version_info < (3, 11):
    pytest.skip("run by make test STACK=today", allow_module_level=True)
if not OTHER.exists():
    pytest.skip("needs the default stack as well: make venv", allow_module_level=True)


@pytest.fixture(scope="module")
def exchanged(tmp_path_factory):
    """`here` was written by this process and read by the other stack; `there` is the reverse."""
    folder = tmp_path_factory.mktemp("exchange")
    here, there = (Exchanged(folder / name) for name in ("here", "there"))
    here.write()
    # The other stack chooses its own Keras.
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    command = [OTHER, "-m", "tests.stacks.exchanged", folder / "there", folder / "here"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there.read()
    return {"here": here, "there": there}


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["logits", "probabilities", "weights"])
@pytest.mark.parametrize("place", ["here", "there"])
def test_results_are_the_same_on_both_stacks(exchanged, place, kind):
    written, read = (exchanged[place].results(name)[kind] for name in (WRITTEN, READ))
    assert np.ptp(written) > 0.1
    np.testing.assert_allclose(read, written, rtol=0, atol=1e-5)
