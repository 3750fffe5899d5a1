"""Labels and the rules about them, as values."""

import pytest

from heliostat._core.labels import parse_labels, parse_selector, unmet

HERE = {"zone": "near", "example.org/tier": "1"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("near", True),
        ("far", False),
        ("!near", False),
        ("!far", True),
        ("in(near, far)", True),
        ("in(far)", False),
        ("!in(near,far)", False),
        ("!in(far)", True),
        ("", False),
    ],
)
def test_a_selector_says_what_a_label_must_be(text: str, holds: bool) -> None:
    assert (not unmet(HERE, parse_selector("label_selector", {"zone": text}))) is holds


def test_a_label_that_is_not_there_is_no_value_and_none_of_several() -> None:
    assert unmet(HERE, parse_selector("label_selector", {"rack": "a"}))
    assert not unmet(HERE, parse_selector("label_selector", {"rack": "!a", "row": "!in(a, b)"}))


@pytest.mark.parametrize("text", ["in()", "a b", "-a", "a-", "!!a", "in(a", "x" * 64])
def test_what_is_no_selector_is_refused_with_its_key(text: str) -> None:
    with pytest.raises(ValueError, match="zone"):
        parse_selector("label_selector", {"zone": text})


@pytest.mark.parametrize("key", ["", "a b", "-a", "a/b/c d", "/a", "x" * 64])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        parse_labels({key: "a"})


def test_the_id_of_the_machine_is_not_chosen() -> None:
    with pytest.raises(ValueError, match="node-id"):
        parse_labels({"ray.io/node-id": "a"})
    assert parse_labels({"ray.io/market-type": "spot", "empty": ""}) == (
        ("ray.io/market-type", "spot"),
        ("empty", ""),
    )


@pytest.mark.parametrize("value", [[], "a", {"a": 1}, {1: "a"}])
def test_labels_are_a_dict_of_strings(value: object) -> None:
    with pytest.raises(TypeError, match="labels must be a dict of strings"):
        parse_labels(value)
