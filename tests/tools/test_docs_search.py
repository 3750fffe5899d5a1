"""What the site's search finds first, and what it calls it: in Chromium, on a small site."""

import pytest

from tests import browser, small_site

pytest.importorskip("mkdocs")
GUIDE = "# Training\n\nRanks.\n\n## Going on\n\nWhat `report` is given as a checkpoint is kept.\n"
NAMES = "# Train\n\n" + "".join(
    f"## {name} {{ #heliostat.train.{owner}.{name} }}\n\n{text}\n\n"
    for owner in ("Result", "Trial", "Reported")
    for name, text in (("checkpoint", "checkpoint : Any"), ("read_csv", "read_csv(path) Read it."))
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of a site of a guide and a page of names."""
    with small_site.served(
        tmp_path_factory.mktemp("site"), {"train.md": GUIDE, "api/train.md": NAMES}
    ) as address:
        yield address


def found(site, words, folder):
    with browser.page(f"{site}/search.html?q={words}", folder) as page:
        page.until("!!document.body && !!document.querySelector('#mkdocs-search-results h3')")
        return page.run(
            "[...document.querySelectorAll('#mkdocs-search-results h3')].map(h => h.innerText)"
        )


@pytest.mark.skipif(browser.program() is None, reason="needs Chromium")
class TestSearch:
    def test_a_guide_comes_before_attributes_that_are_called_so(self, site, tmp_path):
        assert found(site, "checkpoint", tmp_path)[0] == "Going on (Training)"

    def test_a_name_is_told_in_full(self, site, tmp_path):
        assert "train.Trial.checkpoint" in found(site, "checkpoint", tmp_path)

    @pytest.mark.parametrize("words", ["read%20csv", "ray.data.read_csv", "read_csv"])
    def test_a_name_is_found_by_its_words(self, words, site, tmp_path):
        assert found(site, words, tmp_path)[0].endswith(".read_csv")


def test_another_mkdocs_whose_search_is_made_otherwise_is_told_of(tmp_path):
    from mkdocs.exceptions import PluginError

    from tools.docs_search import on_post_build

    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "worker.js").write_text("index.put(doc)")
    with pytest.raises(PluginError, match="see how the index is made"):
        on_post_build({"site_dir": str(tmp_path)})
