"""Where the demo is found."""

import pytest

from heliostat.cli import _demo


def test_a_checkout_has_the_demo_in_examples():
    assert _demo.find().parts[-2:] == ("examples", "taxi.py")


def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it():
    with pytest.raises(_demo.DemoNotHere, match=r"needs no_such_package; .*heliostat\[demo\]"):
        _demo.find(needs=("numpy", "no_such_package"))


def test_an_installation_without_the_demo_says_how_to_get_it(tmp_path):
    with pytest.raises(_demo.DemoNotHere, match="get a checkout and say `make demo`"):
        _demo.find(package=tmp_path / "site" / "heliostat")
