"""How tools/signatures.py compares how Ray's public names are called with how ours are."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from heliostat.cli._parity import read_reasons
from tools.signatures import Parameter, Signature, differences, read

HERE = Path(__file__).parents[2] / "tools"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> str:
    class Dataset:
        def take(self, limit=20):
            return limit

        @classmethod
        def of(cls, items):
            return items

    module = ModuleType("ours")
    module.get = lambda refs, timeout=None: refs
    module.named = lambda *, refs, mode="a": refs
    module.swapped = lambda timeout, refs: refs
    module.anything = lambda **kw: kw
    module.constant = 5
    module.Dataset = Dataset
    monkeypatch.setitem(sys.modules, "ours", module)
    return "ours"


def said(line, package):
    return differences(Signature.parse(line), package)


def test_a_line_is_read_into_places_and_defaults():
    parsed = Signature.parse("ray.get(refs, n=2, *args, timeout=None, **more)")
    assert parsed.path == "ray.get"
    assert parsed.parameters == (
        Parameter("refs", 0, None),
        Parameter("n", 1, "2"),
        Parameter("timeout", None, "None"),
    )


def test_what_is_called_the_same_way_is_no_difference(package):
    for line in (
        "ray.get(refs, timeout=None)",
        "ray.get(refs, *, timeout=None)",  # more is allowed here
        "ray.get(refs, timeout)",  # and less is needed
        "ray.get(refs, timeout=...)",  # whose default nobody can say
        "ray.anything(a, b=1)",
        "ray.Dataset.take(limit=20)",
        "ray.Dataset.of(items)",
        "ray.gone(x)",  # for tools/names.py to say
        "ray.constant(x)",
    ):
        assert said(line, package) == {}


def test_a_difference_is_said_by_parameter(package):
    assert said("ray.named(refs, mode='b')", package) == {
        "ray.named(refs)": "has to be named",
        "ray.named(mode)": "has to be named; is 'a' by default, in Ray 'b'",
    }
    assert said("ray.swapped(refs, timeout=1)", package) == {
        "ray.swapped(refs)": "stands at place 2, in Ray at 1",
        "ray.swapped(timeout)": "stands at place 1, in Ray at 2; has to be given",
    }
    assert said("ray.Dataset.take(limit=10)", package) == {
        "ray.Dataset.take(limit)": "is 20 by default, in Ray 10"
    }


def test_every_signature_of_ray_s_can_be_read():
    known = read(HERE / "ray_signatures.txt")
    assert len(known) > 500
    assert len({each.path for each in known}) == len(known)


def test_every_difference_has_a_reason():
    reasons = read_reasons(HERE / "ray_otherwise.toml")
    assert all(reason.strip() for reason in reasons.values())
