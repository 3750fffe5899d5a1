"""A tutorial for each lesson, whose code is its script's, word for word."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"examples/lessons/\w+\.py")
INSTALLED = re.compile(r"pip install -e '\.\[([\w,-]+)\]'([^#\n]*)")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def brought(requirement: str) -> Iterator[str]:
    """What a requirement installs, by name; what it needs itself, too."""
    name, extras = re.fullmatch(r"([\w.-]+)(?:\[([\w,-]+)\])?.*", requirement).groups()
    if name == "heliostat":
        for extra in extras.split(","):
            for inner in EXTRAS[extra]:
                yield from brought(inner)
        return
    yield name.lower().replace("_", "-")
    try:
        below = [text for text in requires(name) or () if ";" not in text]
    except PackageNotFoundError:
        return
    for inner in below:
        yield from brought(inner.split()[0])


def imported(program: str) -> set[str]:
    """Packages that a program cannot do without: imports that fail in peace do not count."""
    found = set()
    for node in ast.parse(program).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"heliostat"}


def test_every_lesson_has_its_tutorial():
    lessons = {path.name for path in (ROOT / "examples/lessons").glob("*.py")}
    named = {Path(name).name for page in PAGES for name in SCRIPT.findall(page.read_text())}
    assert named == lessons
    assert len(PAGES) == 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_tutorial_is_its_script_s(page):
    text = page.read_text()
    scripts = [(ROOT / name).read_text() for name in SCRIPT.findall(text)]
    blocks = BLOCK.findall(text)
    assert len(blocks) >= 3
    assert [block for block in blocks if not any(block in script for script in scripts)] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_what_a_page_says_to_install_is_all_that_its_programs_import(page):
    text = page.read_text()
    extras, others = INSTALLED.search(text).groups()
    there = {name for each in (f"heliostat[{extras}]", *others.split()) for name in brought(each)}
    whole = [(ROOT / name).read_text() for name in SCRIPT.findall(text)]
    programs = whole or [block for block in BLOCK.findall(text) if "import " in block]
    owners = packages_distributions()
    lacking = {
        module
        for program in programs
        for module in imported(program)
        if not there & {name.lower().replace("_", "-") for name in owners.get(module, [module])}
    }
    assert lacking == set()
