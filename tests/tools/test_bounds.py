"""pyproject.toml, constraints.txt and constraints-lowest.txt say the same."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(file: str) -> dict[str, Version]:
    lines = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / file).read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-"): Version(version) for name, version in lines}


def declared(*groups: list[str]) -> list[Requirement]:
    found = [Requirement(line) for group in groups for line in group]
    return [r for r in found if r.name != "heliostat"]


# Only tests marked `ray` have a Ray, which is no part of the environment that the others run in.
EXTRAS = {
    name: needs
    for name, needs in PROJECT["project"]["optional-dependencies"].items()
    if name != "ray"
}
RUNTIME = declared(PROJECT["project"]["dependencies"], *EXTRAS.values())
GROUPS = PROJECT["dependency-groups"]
TESTING = declared(GROUPS["test"])
DEVELOPMENT = declared(*(GROUPS[name] for name in ("test", "check", "docs", "integrations")))


@pytest.mark.parametrize("need", RUNTIME + TESTING, ids=str)
def test_the_lowest_version_we_test_is_the_lower_bound_we_declare(need):
    (bound,) = [s.version for s in need.specifier if s.operator == ">="]
    assert pins("constraints-lowest.txt")[need.name] == Version(bound)


@pytest.mark.parametrize("need", RUNTIME + DEVELOPMENT, ids=str)
def test_what_we_install_is_pinned_within_the_range(need):
    assert need.specifier.contains(pins("constraints.txt")[need.name])


HEAVY = re.compile("torch|cuda|nvidia|^xgboost$", re.IGNORECASE)


def test_no_extra_asks_for_torch_or_cuda():
    assert [need for need in RUNTIME if HEAVY.search(need.name)] == []


def test_torch_is_the_only_heavy_package_we_pin():
    # These have torch in their names and are a few MB of Python each, but for torchvision's ten.
    small = {"botorch", "gpytorch", "pytorch-lightning", "torchmetrics", "torchvision"}
    heavy = [name for name in pins("constraints.txt") if HEAVY.search(name)]
    assert [name for name in heavy if name not in small] == ["torch"]
