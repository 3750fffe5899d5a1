"""A tutorial for each lesson, whose code is its script's, word for word."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SCRIPT = re.compile(r"examples/lessons/\w+\.py")


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
