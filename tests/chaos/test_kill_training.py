"""Training that is killed three times ends with the same weights as training that is not."""

import pytest

from tests.chaos.kill_training import kill_and_compare, make_records


# In the fast tests, tests/lxmert_tf/training resumes a run within one process. Two workers take
# longer than a test may: `python -m tests.chaos.kill_training --trainings workers`.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["finetune", "pretrain", "statements"])
def test_nothing_is_lost_in_three_kills(name, tmp_path):
    make_records(tmp_path, pictures=5)
    hits = kill_and_compare(name, 3, tmp_path, epochs=2, seed=1)
    assert hits == {"start": 1, "writing": 1, "preset": 1}
