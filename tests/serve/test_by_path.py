"""Import paths in both notations, and what is said of those that lead nowhere."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sized

import pytest

from heliostat.serve._by_path import found_at


@pytest.mark.parametrize("path", ["collections.abc:Sized", "collections.abc.Sized"])
def test_a_path_with_a_colon_or_only_dots_leads_to_the_same(path):
    assert found_at(path, "option") is Sized


def test_what_is_inside_a_class_is_found_behind_the_colon():
    assert found_at("collections:OrderedDict.move_to_end", "option") is OrderedDict.move_to_end


@pytest.mark.parametrize("path", ["nowhere.at_all:x", "collections:Nothing", "name", ":x", ""])
def test_a_path_that_leads_nowhere_names_itself_the_option_and_the_advice(path):
    with pytest.raises(ImportError) as raised:
        found_at(path, "adapter", "leave it out")
    assert f"adapter={path!r} cannot be imported: " in str(raised.value)
    assert str(raised.value).endswith("; leave it out")
