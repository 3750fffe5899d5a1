"""Of what has ended, what somebody does not know yet is given, the oldest first."""

from heliostat._parts import since


def test_what_ended_after_the_one_that_is_known_is_given_oldest_first():
    assert since("abcdef", str, "b", 10) == ["c", "d", "e", "f"]
    assert since("abcdef", str, "b", 2) == ["c", "d"]
    assert since("abcdef", str, "f", 2) == []


def test_all_is_given_when_the_known_one_is_forgotten():
    assert since("abc", str, "z", 10) == ["a", "b", "c"]


def test_an_identifier_that_ended_twice_is_known_from_its_last_time():
    assert since("abab", str, "a", 10) == ["b"]
