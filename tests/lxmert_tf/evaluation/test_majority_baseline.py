"""The baseline that does not look at the image: the majority answer to each question."""

import collections

import easy_vqa
import pytest

from lxmert_tf.evaluation.majority_baseline import MajorityBaseline


def test_a_known_question_gets_its_commonest_answer():
    guess = MajorityBaseline(
        [("what?", "red"), ("what?", "blue"), ("what?", "blue"), ("is it?", "no")]
    )
    assert guess.answer("what?") == "blue"
    assert guess.answer("is it?") == "no"


def test_a_new_question_gets_the_commonest_answer_of_all():
    pairs = [("a?", "red"), ("b?", "red"), ("c?", "blue"), ("c?", "blue"), ("d?", "blue")]
    assert MajorityBaseline(pairs).answer("never asked?") == "blue"


def test_a_tie_goes_to_the_first_by_name_whatever_the_order():
    pairs = [("what?", "red"), ("what?", "blue")]
    assert MajorityBaseline(pairs).answer("what?") == "blue"
    assert MajorityBaseline(pairs[::-1]).answer("what?") == "blue"


def test_it_may_be_given_an_iterator():
    assert MajorityBaseline(iter([("what?", "red")])).answer("what?") == "red"


def test_on_easy_vqa_it_is_right_in_two_of_three():
    train, test = easy_vqa.get_train_questions(), easy_vqa.get_test_questions()
    guess = MajorityBaseline(zip(*train[:2]))
    right = collections.Counter(guess.answer(q) == a for q, a in zip(*test[:2]))
    assert right[True] / sum(right.values()) == pytest.approx(0.6694, abs=0.0001)
