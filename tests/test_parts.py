"""Of what has ended, what somebody does not know yet is given, the oldest first."""

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st

from heliostat._parts import Counted, Part, counted, since


def test_what_ended_after_the_one_that_is_known_is_given_oldest_first():
    assert since("abcdef", str, "b", 10) == ["c", "d", "e", "f"]
    assert since("abcdef", str, "b", 2) == ["c", "d"]
    assert since("abcdef", str, "f", 2) == []


def test_all_is_given_when_the_known_one_is_forgotten():
    assert since("abc", str, "z", 10) == ["a", "b", "c"]


def test_an_identifier_that_ended_twice_is_known_from_its_last_time():
    assert since("abab", str, "a", 10) == ["b"]


@given(st.lists(st.sampled_from("abc") | st.just("?"), max_size=60), st.integers(1, 7))
def test_however_many_are_let_go_all_are_counted(words, kept):
    ended, all_ = Counted((), str, kept), []
    for word in words:
        if word == "?":  # somebody asks
            assert ended.counts() == Counter(all_)
        else:
            ended.append(word)
            all_.append(word)
    assert ended.counts() == Counter(all_)
    assert list(ended) == all_[-kept:]


def test_what_is_cleared_away_uncounted_is_not_made_up():
    ended = Counted("aab", str, 3)
    ended.clear()
    ended.append("c")
    assert ended.counts() == {"c": 1}


def test_counting_begins_when_somebody_asks_and_ends_when_nobody_does():
    plain = deque("abc", 3)
    ended, counts = counted(plain, str, None)
    assert counts == {"a": 1, "b": 1, "c": 1}
    assert counted(ended, str, None)[0] is ended
    left, counts = counted(ended, str, Part(most=0))
    assert (type(left), left, left.maxlen, counts) == (deque, plain, 3, {})
