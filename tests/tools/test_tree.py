"""The trees that tools/tree.py writes into the pages."""

from pathlib import Path

import pytest

from tools.tree import BEGIN, END, listing, overview, page_with, purpose


def write(root: Path, name: str, text: str) -> None:
    file = root / "src/heliostat" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_files_of_the_top_come_first_then_a_folder_after_the_other(tmp_path):
    write(tmp_path, "__init__.py", '"""The library."""')
    write(tmp_path, "data/__init__.py", '"""Data: tables.\n\nMore."""')
    write(tmp_path, "data/block.py", '"""A block."""')
    write(tmp_path, "errors.py", '"""Errors."""')
    rows = [row.split(maxsplit=1) for row in listing(tmp_path).splitlines()]
    assert rows == [
        ["heliostat/", "The library."],
        ["errors.py", "Errors."],
        [],
        ["heliostat/data/", "Data: tables."],
        ["block.py", "A block."],
    ]


def test_the_overview_names_the_files_of_each_folder(tmp_path):
    write(tmp_path, "__init__.py", '"""The library."""')
    write(tmp_path, "data/__init__.py", '"""Data: tables."""')
    write(tmp_path, "data/block.py", '"""A block."""')
    write(tmp_path, "data/_plan.py", '"""A plan."""')
    rows = [row.split() for row in overview(tmp_path).splitlines()]
    assert rows == [
        ["heliostat/", "The", "library."],
        ["heliostat/data/", "Data:", "tables."],
        ["_plan", "block"],
    ]


def test_a_module_without_a_docstring_is_named(tmp_path):
    write(tmp_path, "x.py", "y = 1")
    with pytest.raises(ValueError, match=r"x\.py has no docstring"):
        purpose(tmp_path / "src/heliostat/x.py")


def test_only_what_is_between_the_markers_changes():
    page = f"a\n{BEGIN}\nold\n{END}\nb\n"
    assert page_with("new", page) == f"a\n{BEGIN}\n\n```text\nnew\n```\n\n{END}\nb\n"
    with pytest.raises(ValueError, match="needs the lines"):
        page_with("new", "a page without markers")
