"""In the driver and on the inline engine a breakpoint is plain pdb; others are in tests/cli."""

import io
import sys

import pytest

import heliostat as ray
from heliostat.util import rpdb


def test_it_is_plain_pdb_on_the_inline_engine(monkeypatch, capsys):
    @ray.remote
    def f(n):
        rpdb.set_trace()
        return n

    monkeypatch.setattr(sys, "stdin", io.StringIO("p n + 1\nc\n"))
    with ray.init(engine="inline"):
        assert ray.get(f.remote(41)) == 41
    assert "42" in capsys.readouterr().out


def test_post_mortem_is_plain_pdb_in_the_driver(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("p divisor\nq\n"))
    divisor = 0
    try:
        1 / divisor
    except ZeroDivisionError:
        rpdb.post_mortem()
    assert "0" in capsys.readouterr().out


def test_post_mortem_needs_an_error():
    with pytest.raises(ValueError, match="needs an error that was raised"):
        rpdb.post_mortem()


def test_ray_knows_it_by_another_name():
    assert ray.util.pdb is rpdb
