"""The programs on the pages run, and print what the pages say.

A block of python that a block of text follows is a program and its output. It runs as a script of
its own, from the root of the repository. Blocks marked with other languages are for reading.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = re.compile(r"^```python\n(.*?)^```\n+```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def programs() -> Iterator[object]:
    for page in PAGES:
        for number, match in enumerate(PROGRAM.finditer(page.read_text()), start=1):
            yield pytest.param(*match.groups(), id=f"{page.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize(("program", "output"), list(programs()))
def test_a_program_prints_what_the_page_says(program, output, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "HELIOSTAT_PROGRESS": "0", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


def test_the_readme_has_five_short_programs():
    found = PROGRAM.findall((ROOT / "README.md").read_text())
    assert len(found) == 5
    assert all(len(program.splitlines()) <= 24 for program, _ in found)


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda p: p.name)
def test_a_link_leads_to_a_file_that_exists(page):
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda p: p.name)
def test_what_is_announced_with_a_colon_follows(page):
    announced = re.findall(
        r"^.*:\n\n+(?!```|\||[*-] |\d+\. |!\[|    |:::|<).*$", page.read_text(), re.MULTILINE
    )
    assert announced == []


def test_the_architecture_stays_short():
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 300


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("*.md")], ids=lambda p: p.name)
def test_a_page_names_only_files_that_exist(page):
    package = ROOT / "src/heliostat"
    bases = [ROOT, package, *(p for p in package.rglob("*") if p.is_dir())]
    named = set(re.findall(r"`(\w[\w/.-]*\.(?:py|md|toml|txt|yml))`", page.read_text()))
    missing = [n for n in sorted(named) if not any((base / n).exists() for base in bases)]
    assert missing == []
