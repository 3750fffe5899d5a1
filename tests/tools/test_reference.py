"""The API reference has every public name, or the tool says which it lacks."""

import zlib

from tools import reference

LINES = b"heliostat.get py:function 1 api/core.html#$ -\nheliostat._core.refs.ObjectRef py:class 1 x -\n"


def test_the_names_of_an_inventory_are_the_first_words_of_its_lines():
    content = b"# one\n# two\n# three\n# four\n" + zlib.compress(LINES)
    assert reference.inventory(content) == {"heliostat.get", "heliostat._core.refs.ObjectRef"}


def test_a_name_is_there_by_its_path_by_its_home_or_in_the_text():
    known = {"heliostat.get", "heliostat._core.refs.ObjectRef"}
    paths = ["ray.get", "ray.ObjectRef", "ray.put", "ray.__version__", "ray.util.pdb"]
    text = "`heliostat.__version__` is the version, and `pdb` a module"
    assert reference.missing(paths, known, text, "heliostat") == ["heliostat.put"]


def test_main_tells_what_is_missing(tmp_path, capsys, monkeypatch):
    content = b"# one\n# two\n# three\n# four\n" + zlib.compress(LINES)
    (tmp_path / "objects.inv").write_bytes(content)
    monkeypatch.setattr("sys.argv", ["reference", str(tmp_path)])
    assert reference.main() == 1
    assert "heliostat.data.Dataset.take: not in the API reference" in capsys.readouterr().out


def test_a_site_that_is_not_made_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["reference", str(tmp_path)])
    assert reference.main() == 1
    assert "make the site first" in capsys.readouterr().out


def test_an_example_that_is_running_text_is_told(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "core.html").write_text('<details class="example" open>&gt; ray.put(3)')
    (tmp_path / "api" / "data.html").write_text('<div class="highlight"><pre>&gt;&gt;&gt; ray')
    assert reference.flattened(tmp_path) == ["core.html"]


def test_a_page_that_is_too_long_is_told(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "core.html").write_text("short")
    (tmp_path / "api" / "data.html").write_bytes(bytes(reference.LONGEST_BYTES + 1))
    assert reference.longest(tmp_path) == ["data.html"]
