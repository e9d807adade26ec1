"""Accuracy as bars: what is drawn, and what screen readers say."""

from xml.etree import ElementTree

from lxmert_tf.visualization.accuracy_bars import accuracy_bars

ACCURACY = {"shape": (0.5, 1200), '<is "it">': (1.0, 3)}


def parts(root, kind):
    return root.findall(f".//span[@class='{kind}']")


def test_each_value_has_a_bar_with_its_numbers():
    root = ElementTree.fromstring(accuracy_bars("By type", ACCURACY, {}))
    assert [bar.get("style") for bar in parts(root, "candidate")] == [
        "width:50.00%",
        "width:100.00%",
    ]
    assert [value.text for value in parts(root, "value")] == [*ACCURACY]
    numbers = [number.text for number in parts(root, "number")]
    assert numbers == ["50.00% of 1,200", "100.00% of 3"]
    assert root.get("aria-label") == "By type"
    assert parts(root, "baseline") == []


def test_the_baseline_is_marked_where_it_has_the_value():
    root = ElementTree.fromstring(accuracy_bars("By type", ACCURACY, {"shape": (0.25, 1200)}))
    [mark] = parts(root, "baseline")
    assert mark.get("style") == "left:25.00%"
    assert mark.get("aria-label") == "last blessed model: 25.00%"
