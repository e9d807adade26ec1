"""Grouping through files: the groups of a dict, in little memory, from any number of tasks."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.beam import spill as spilling
from pipeline.beam.spill import SpilledElement, keyed, read_groups, read_spilled, spill

KEYS = st.text(st.characters(exclude_categories=[]), max_size=3)
PAIRS = st.lists(st.tuples(KEYS | st.tuples(KEYS, KEYS), st.integers()), max_size=60)
SETTINGS = settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def small(monkeypatch):
    """Limits that a few elements exceed."""
    for name, value in (("MOST_HELD", 5), ("MOST_LOADED", 3), ("MOST_INLINE_BYTES", 0)):
        monkeypatch.setattr(spilling, name, value)


def partitions(spilled):
    found = {}
    for one in spilled:
        found.setdefault(one.partition, []).append(one)
    return found.values()


@SETTINGS
@given(PAIRS, PAIRS)
def test_two_tasks_make_the_groups_of_a_dict(small, tmp_path, first, second):
    check_groups(tmp_path, first, second)


@SETTINGS
@given(PAIRS, PAIRS)
def test_few_elements_need_no_file(tmp_path, first, second):
    check_groups(tmp_path, first, second)
    assert not list(tmp_path.iterdir())


def check_groups(folder, *tasks):
    expected = {}
    for key, value in [pair for pairs in tasks for pair in pairs]:
        expected.setdefault(key, []).append(value)
    spilled = [one for pairs in tasks for one in spill(pairs, tuple, str(folder), as_keyed)]
    files = set(folder.iterdir())
    groups = [group for one in partitions(spilled) for group in read_groups(one, str(folder))]
    assert {key: sorted(values) for key, values in groups} == {
        key: sorted(values) for key, values in expected.items()
    }
    assert len(groups) == len(expected)
    # What was split again leaves no file.
    assert set(folder.iterdir()) == files


def as_keyed(pair):
    yield keyed(*pair)


def test_elements_come_in_the_order_of_their_hashes_few_at_a_time(small, tmp_path):
    # Their first 12 bits are those of few numbers, so that they are split again.
    numbers = [i << 44 for i in range(200)]
    spilled = spill(numbers[::-1], int, str(tmp_path), lambda n: [SpilledElement(0, n, n)])
    loaded = list(read_spilled(spilled, str(tmp_path)))
    assert [number for part in loaded for number in sorted(part)] == numbers
    assert max(map(len, loaded)) <= 4


def test_a_key_of_more_values_than_are_loaded_ends(small, tmp_path):
    spilled = list(spill(range(50), int, str(tmp_path), lambda n: [keyed("key", n)]))
    [(key, values)] = read_groups(spilled, str(tmp_path))
    assert (key, sorted(values)) == ("key", list(range(50)))


def test_other_elements_pass(tmp_path):
    *others, spilled = spill(["a", 1, "b"], int, str(tmp_path), lambda n: [keyed("k", n)])
    assert others == ["a", "b"]
    assert (spilled.kind, dict(read_groups([spilled], str(tmp_path)))) == ("int", {"k": [1]})
