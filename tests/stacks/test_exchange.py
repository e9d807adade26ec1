"""What one stack writes, the other reads, with the same results: TensorFlow 2.21 and 2.15.

Both ways are tested at once, by the tests of STACK=today.
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
    """Here: what this process wrote and the other stack read; there: the other way round."""
    folder = tmp_path_factory.mktemp("exchange")
    here, there = (Exchanged(folder / name) for name in ("here", "there"))
    here.write()
    # Which Keras it is to be is for the other to say.
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    command = [OTHER, "-m", "tests.stacks.exchanged", folder / "there", folder / "here"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there.read()
    return {"here": here, "there": there}


@pytest.mark.parametrize("kind", ["logits", "probabilities", "weights"])
@pytest.mark.parametrize("place", ["here", "there"])
def test_what_is_read_does_what_it_did_where_it_was_written(exchanged, place, kind):
    written, read = (exchanged[place].results(name)[kind] for name in (WRITTEN, READ))
    assert np.ptp(written) > 0.1
    np.testing.assert_allclose(read, written, rtol=0, atol=1e-5)
