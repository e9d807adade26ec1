"""Accuracy as bars: what is drawn, and what screen readers say."""

from xml.etree import ElementTree

from lxmert_tf.visualization.accuracy_bars import BARS, NAMES, accuracy_bars

ACCURACY = {"shape": (0.5, 1200), '<is "it">': (1.0, 3)}


def test_each_value_has_a_bar_with_its_numbers():
    root = ElementTree.fromstring(accuracy_bars("By type", ACCURACY, {}))
    bars = root.findall("rect")
    assert [float(bar.get("width")) for bar in bars] == [0.5 * BARS, BARS]
    texts = [text.text for text in root.findall("text")]
    assert texts[-4:] == ["shape", "50.00% of 1,200", '<is "it">', "100.00% of 3"]
    assert root.find("path") is None


def test_the_baseline_is_marked_where_it_has_the_value():
    root = ElementTree.fromstring(accuracy_bars("By type", ACCURACY, {"shape": (0.25, 1200)}))
    [mark] = root.findall("path")
    assert mark.get("d").startswith(f"M{NAMES + 0.25 * BARS:.1f} ")
    assert mark.find("title").text == "last blessed model: 25.00%"


def test_screen_readers_say_all_values():
    root = ElementTree.fromstring(accuracy_bars("By type", ACCURACY, {}))
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'By type: shape 50.00% of 1,200, <is "it"> 100.00% of 3'
