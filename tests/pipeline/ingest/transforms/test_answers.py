"""Every answer of a sentence is kept or rejected."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxmert_tf.data.answer_table import normalize_answer
from lxmert_tf.data.scene import Sentence
from pipeline.ingest.transforms.answers import keep_answers

ANSWERS = st.lists(
    st.tuples(st.sampled_from(["a cup", "cup", "Two", "2", "", "grey."]), st.floats(0, 1))
)


def asked(*answers) -> Sentence:
    return Sentence("1", "what?", "vqa", "what", "other", answers)


@pytest.mark.parametrize(
    ("table", "normalize", "kept", "left_out"),
    [
        (None, False, (("A cup.", 0.3), ("cup", 0.9), ("mug", 0.6)), []),
        (None, True, (("cup", 0.9), ("mug", 0.6)), []),
        ({"cup"}, False, (("cup", 0.9),), ["A cup.", "mug"]),
        ({"cup"}, True, (("cup", 0.9),), ["mug"]),
        (set(), True, (), ["cup", "mug"]),
    ],
)
def test_known_cases(table, normalize, kept, left_out):
    sentence = asked(("A cup.", 0.3), ("cup", 0.9), ("mug", 0.6))
    assert keep_answers(sentence, table, normalize) == (asked(*kept), left_out)


@settings(derandomize=True)
@given(ANSWERS, st.none() | st.sets(st.sampled_from(["cup", "2", ""])), st.booleans())
def test_every_answer_is_kept_or_reported(answers, table, normalize):
    sentence, left_out = keep_answers(asked(*answers), table, normalize)
    spelled = [(normalize_answer(a) if normalize else a, score) for a, score in answers]
    kept = dict(sentence.answers)
    assert len(kept) == len(sentence.answers)
    assert {*kept, *left_out} == {answer for answer, _ in spelled}
    assert not set(kept) & set(left_out)
    assert table is None or set(kept) <= table
    for answer, score in kept.items():
        assert score == max(other for name, other in spelled if name == answer)
    assert keep_answers(sentence, table, normalize) == (sentence, [])
