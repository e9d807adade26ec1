"""Tests of finding the objects of NLVR's images."""

import pytest

from lxmert_tf.errors import InputError
from pipeline.statements.scenes import COLORS, SHAPES, SIZES, read_scenes
from tests.pipeline.statements.drawn_scenes import draw, scenes, tower


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_has_its_attributes(size, color, shape):
    found = scenes("", f"{size} {color} {shape} 33 40", "")
    assert found.counts.tolist() == [[0, 1, 0]]
    place = 0, 1, 0
    assert SIZES[found.size[place]] == size
    assert list(COLORS)[found.color[place]] == color
    assert SHAPES[found.shape[place]] == shape
    assert not found.touches[place].any()
    assert not found.is_tower[0]


def test_objects_touch_the_edges_of_their_box():
    found = scenes("small black square 0 0", "big blue square 70 70", "medium yellow square 50 0")
    assert found.touches[0, :, 0].tolist() == [
        [True, True, False, False],
        [False, False, True, True],
        [False, True, False, False],
    ]


def test_the_blocks_of_a_tower_start_at_the_base():
    found = scenes(tower("black", "blue", "blue", "yellow"), tower("yellow"), "")
    assert found.is_tower[0]
    assert found.counts.tolist() == [[4, 1, 0]]
    assert found.color[0, 0, :4].tolist() == [0, 2, 2, 1]
    assert found.touches[0, 0, :4, 3].tolist() == [True, False, False, False]


def test_too_many_objects_are_refused():
    crowd = ",".join(f"small black square {x} {y}" for x in (5, 35, 65) for y in (5, 35, 65))
    with pytest.raises(InputError, match=r"crowd\.png: more than 8 objects"):
        read_scenes([("crowd.png", draw(crowd, "", ""))])
