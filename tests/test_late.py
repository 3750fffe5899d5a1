"""A late package: a name is loaded when it is touched, once, and one that is not there is told."""

import sys

import pytest

from heliostat._late import late

HOMES = {"Result": "train.result"}


def test_a_name_is_loaded_once_and_stays() -> None:
    space = {"__name__": "heliostat.train", "__all__": ["Result"]}
    attribute, names = late(space, HOMES, ["config"])
    assert "Result" not in space
    assert "Result" in names()
    loaded = attribute("Result")
    assert space["Result"] is loaded
    assert loaded.__module__ == "heliostat.train.result"
    assert attribute("config") is sys.modules["heliostat.train.config"]


def test_a_name_that_is_not_there_is_an_attribute_error_that_says_whose() -> None:
    attribute, _ = late({"__name__": "heliostat.train", "__all__": []}, HOMES, [])
    with pytest.raises(AttributeError, match=r"'heliostat\.train' has no attribute 'Resutl'"):
        attribute("Resutl")
