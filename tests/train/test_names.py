import pytest

from heliostat.train._names import check_name


@pytest.mark.parametrize("name", ["a", "taxi-2026_11", "поездки", "x" * 255, "a.b"])
def test_a_directory_name_passes(name):
    assert check_name("name", name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "/a", "a/b", "a\\b", ".a", "a\0", "a\n", " a", "я" * 128]
)
def test_anything_else_is_refused_with_the_argument_named(name):
    with pytest.raises(ValueError, match=r"RunConfig\(name"):
        check_name("RunConfig(name=...)", name)


def test_what_is_not_text_is_refused():
    with pytest.raises(TypeError, match="got 7 of type int"):
        check_name("name", 7)
