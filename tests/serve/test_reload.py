"""Sources: what has changed in a folder, and what of it is imported anew."""

from __future__ import annotations

import importlib
import os
import sys

from heliostat.serve._reload import Sources


def test_files_that_were_changed_made_or_removed_are_told_once(tmp_path):
    (tmp_path / "kept.py").write_text("a = 1")
    (tmp_path / "gone.py").write_text("a = 1")
    config = tmp_path.parent / f"{tmp_path.name}.yaml"
    config.write_text("")
    sources = Sources(tmp_path, [config])
    assert sources.changed() == []
    (tmp_path / "kept.py").write_text("a = 22")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "made.py").write_text("")
    config.write_text("applications: []")
    changed = {path.name for path in sources.changed()}
    assert changed == {"kept.py", "gone.py", "made.py", config.name}
    assert sources.changed() == []


def test_hidden_folders_and_installed_packages_are_not_looked_at(tmp_path):
    for name in (".git", "__pycache__", "env"):
        (tmp_path / name).mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    sources = Sources(tmp_path)
    for name in (".git", "__pycache__", "env"):
        (tmp_path / name / "a.py").touch()
    (tmp_path / "notes.txt").touch()
    assert sources.changed() == []


def test_modules_of_the_folder_are_imported_anew(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "reloaded_module.py"
    file.write_text("value = 1")
    sources = Sources(tmp_path)
    assert importlib.import_module("reloaded_module").value == 1
    file.write_text("value = 20")
    sources.forget()
    importlib.invalidate_caches()
    assert importlib.import_module("reloaded_module").value == 20
    assert os.path is sys.modules["os"].path
    del sys.modules["reloaded_module"]
