"""Training that is killed three times ends as if it had been let be."""

import pytest

from tests.chaos.kill_training import kill_and_compare, make_records


@pytest.mark.parametrize("command", ["finetune", pytest.param("pretrain", marks=pytest.mark.slow)])
def test_nothing_is_lost_in_three_kills(command, tmp_path):
    make_records(tmp_path, pictures=5)
    hits = kill_and_compare(command, 3, tmp_path, epochs=2, seed=1)
    assert hits == {"start": 1, "writing": 1, "preset": 1}
