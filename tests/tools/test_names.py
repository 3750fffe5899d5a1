"""How tools/names.py compares Ray's public names with ours."""

from pathlib import Path
from types import ModuleType

import pytest

from heliostat.cli._parity import find, read_reasons
from tools.names import Name, compare, gaps, read_names

HERE = Path(__file__).parents[2] / "tools"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> str:
    """A package `ours` with `get(refs)`, `any(**kw)` and a class with the field `metrics`."""

    def get(refs):
        return refs

    def anything(**kw):
        return kw

    module = ModuleType("ours")
    module.get, module.anything = get, anything
    module.Result = type("Result", (), {"__annotations__": {"metrics": dict}})
    monkeypatch.setitem(__import__("sys").modules, "ours", module)
    return "ours"


def test_a_line_that_is_no_name_is_refused_with_the_line():
    with pytest.raises(ValueError, match="'ray get'"):
        Name.parse("ray get")


def test_the_module_ends_where_a_class_begins():
    assert Name.parse("ray.data.Dataset.take(limit)").module == "ray.data"


def test_a_name_and_its_parameters_are_found(package):
    assert gaps(Name.parse("ray.get(refs)"), package) == []
    assert gaps(Name.parse("ray.anything(a, b)"), package) == []
    assert gaps(Name.parse("ray.Result.metrics"), package) == []


def test_what_is_there_only_to_refuse_is_not_there(package, monkeypatch):
    def refused(*args):
        """Not offered."""
        raise NotImplementedError("use another")

    class Refused:
        def __init__(self):
            raise NotImplementedError("use another")

        def to_be_written(self):
            raise NotImplementedError

    module = __import__("sys").modules[package]
    refused.__qualname__ = "refused"
    for name, thing in {"refused": refused, "Refused": Refused}.items():
        monkeypatch.setattr(module, name, thing, raising=False)
    assert gaps(Name.parse("ray.refused(x)"), package) == ["ray.refused"]
    assert gaps(Name.parse("ray.Refused"), package) == ["ray.Refused"]
    assert gaps(Name.parse("ray.Refused.to_be_written"), package) == []


def test_what_is_missing_is_said_by_name_and_parameter(package):
    assert gaps(Name.parse("ray.get(refs, timeout)"), package) == ["ray.get(timeout)"]
    assert gaps(Name.parse("ray.Result.gone"), package) == ["ray.Result.gone"]
    assert gaps(Name.parse("ray.gone(x)"), package) == ["ray.gone"]


def test_a_gap_needs_a_reason_and_a_reason_needs_a_gap(package):
    names = [Name.parse("ray.get(refs, timeout)"), Name.parse("ray.gone"), Name.parse("ray.other")]
    reasons = {"ray.get(*)": "later", "ray.other": "never", "ray.get": "stale: it is there"}
    report = compare(names, reasons, package)
    assert report.unlisted == ["ray.gone"]
    assert report.stale == ["ray.get"]
    assert (report.there["ray"], report.absent["ray"]) == (1, 2)


def test_a_function_may_have_the_name_of_its_module(package, monkeypatch):
    module = ModuleType("ours.get")
    module.Handle = str
    monkeypatch.setitem(__import__("sys").modules, "ours.get", module)
    assert gaps(Name.parse("ray.get(refs)"), package) == []
    assert gaps(Name.parse("ray.get.Handle"), package) == []
    assert gaps(Name.parse("ray.get.gone"), package) == ["ray.get.gone"]


def test_find_looks_into_modules_not_loaded_yet():
    assert find("ray.util.progress", "heliostat").__name__ == "heliostat.util.progress"


def test_every_name_of_the_list_can_be_read_and_is_listed_once():
    paths = [name.path for name in read_names(HERE / "ray_names.txt")]
    assert len(paths) > 700
    assert len(paths) == len(set(paths))


def test_every_absence_has_a_reason():
    assert all(reason.strip() for reason in read_reasons(HERE / "ray_absent.toml").values())
