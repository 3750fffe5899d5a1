"""What copies of directories leave out."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from heliostat._engines.local.processes.snapshots import Patterns, copy_directory, take


@pytest.mark.parametrize(
    ("pattern", "path", "verdict"),
    [
        ("*.pt", "a/b.pt", True),
        ("*.pt", "a/b.py", None),
        ("data", "a/data", True),
        ("/data", "a/data", None),
        ("/data", "data", True),
        ("a/*.txt", "a/x.txt", True),
        ("a/*.txt", "a/b/x.txt", None),
        ("a/**/x.txt", "a/b/c/x.txt", True),
        ("**/x.txt", "x.txt", True),
        ("a/**", "a/b/c", True),
        ("x?.py", "xy.py", True),
        ("x[0-9].py", "x1.py", True),
        ("x[!0-9].py", "x1.py", None),
        ("!keep.pt", "keep.pt", False),
        ("# comment", "# comment", None),
        ("", "x", None),
        (r"\#file", "#file", True),
        ("./build", "build", True),
        ("a.c", "abc", None),
    ],
)
def test_patterns_mean_what_they_mean_to_git(pattern: str, path: str, verdict: bool | None) -> None:
    assert Patterns([pattern]).match(path, is_folder=False) is verdict


def test_a_pattern_with_a_slash_at_its_end_is_for_directories() -> None:
    patterns = Patterns(["out/"])
    assert patterns.match("out", is_folder=True)
    assert patterns.match("out", is_folder=False) is None


def test_the_last_pattern_that_fits_decides() -> None:
    patterns = Patterns(["*.pt", "!best.pt"])
    assert patterns.match("a.pt", is_folder=False)
    assert patterns.match("a/best.pt", is_folder=False) is False


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_ignore_files_hold_for_their_own_directory(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for path in (".git/x", "venv/x", "a/big.bin", "a/b/small.bin", "b/big.bin", "keep/secret"):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).touch()
    (source / "a" / ".gitignore").write_text("*.bin\n!small.bin\n")
    (source / ".rayignore").write_text("secret\n")
    (source / "link").symlink_to("a")
    copy_directory(str(source), str(tmp_path / "copy"), [])
    found = [name for name in names(tmp_path / "copy") if "ignore" not in name]
    assert found == ["a", "a/b", "a/b/small.bin", "b", "b/big.bin", "keep", "link"]
    assert (tmp_path / "copy" / "link").is_symlink()


def test_what_is_asked_for_is_left_out_too(tmp_path: Path) -> None:
    (tmp_path / "source" / "data").mkdir(parents=True)
    (tmp_path / "source" / "data" / "x").touch()
    (tmp_path / "source" / "code.py").touch()
    take(str(tmp_path / "source"), str(tmp_path / "copy"), ["data"], as_module=False)
    assert names(tmp_path / "copy") == ["code.py"]


def test_a_directory_of_a_package_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    take(str(tmp_path / "package"), str(tmp_path / "copy"), [], as_module=True)
    assert names(tmp_path / "copy") == ["package", "package/__init__.py"]


def test_the_modules_in_the_data_of_a_wheel_lie_beside_the_others(tmp_path: Path) -> None:
    path = tmp_path / "x-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("one.py", "")
        file.writestr("x-1.0.data/purelib/two.py", "")
    take(str(path), str(tmp_path / "copy"), [], as_module=True)
    assert {"one.py", "two.py"} <= set(names(tmp_path / "copy"))


def test_an_archive_cannot_write_outside(tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../outside.py", "")
    take(str(path), str(tmp_path / "deep" / "copy"), [], as_module=True)
    assert not (tmp_path / "deep" / "outside.py").exists()
