"""Rounding to float16 gives the bits that NumPy gives."""

import numpy as np
import pytest

from pipeline.ingest.float16 import to_float16


def check(values):
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16)
    found = to_float16(values)
    assert found.shape == values.shape
    np.testing.assert_array_equal(found.view(np.uint16), expected.view(np.uint16))


def test_every_float16_and_what_lies_between_two_is_rounded_as_numpy_does():
    exact = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (exact[:-1] + exact[1:]) / 2
    near = [np.nextafter(middle, np.float32(end)) for end in (0, np.inf)]
    for values in (exact, middle, *near):
        check(values)
        check(-values)


def test_numbers_of_all_sizes_and_shapes():
    random = np.random.default_rng(0)
    values = (random.normal(size=(36, 2048)) * 10.0 ** random.integers(-12, 4, (36, 1))).astype(
        "f4"
    )
    values[values < -1] = 0
    for part in (values, values[:, ::2], values[:0], values[:1, :1]):
        check(part)


@pytest.mark.parametrize("value", [65519.9, 65520, 1e30, np.inf, np.nan, -np.inf])
def test_numbers_that_float16_does_not_hold_are_as_in_numpy(value):
    check(np.array([1, value, 2], np.float32))
