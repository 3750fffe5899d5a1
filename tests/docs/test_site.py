"""What the site looks like in Chromium: on a phone, after dark, and where its search is."""

import pytest

from tests import browser, small_site

pytest.importorskip("mkdocs")
pytestmark = pytest.mark.skipif(browser.program() is None, reason="needs Chromium")

LONG = "heliostat.tune.schedulers.resource_changing_scheduler.DistributeResourcesToTopJob"
PAGES = {"index.md": "# Here\n\nWords.\n"} | {
    f"page{n}.md": f"# Page {n}\n\n## {LONG}\n\n* {LONG}\n\nSay `{LONG}`, see {LONG}\n"
    for n in range(40)
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with small_site.served(tmp_path_factory.mktemp("site"), PAGES) as address:
        yield address


def test_no_name_makes_a_page_wider_than_a_phone(site, tmp_path):
    with browser.page("about:blank", tmp_path) as page:
        size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        page.ask("Emulation.setDeviceMetricsOverride", **size)
        page.ask("Page.navigate", url=f"{site}/page1.html")
        page.until("!!document.querySelector('.rst-content li code, .rst-content p code')")
        assert page.run("document.documentElement.scrollWidth") == 400


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_after_dark(scheme, site, tmp_path):
    with browser.page("about:blank", tmp_path) as page:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.ask("Emulation.setEmulatedMedia", features=features)
        page.ask("Page.navigate", url=f"{site}/page1.html")
        page.until("document.readyState == 'complete' && !!document.querySelector('p code')")
        for part in (".rst-content p", ".rst-content h1", ".rst-content p code", ".rst-content a"):
            assert page.run(CONTRAST.replace("PART", part)) >= 4.5, part
        ink = page.run("getComputedStyle(document.querySelector('.rst-content p')).color")
        assert (int(ink.split("(")[1].split(",")[0]) > 128) == (scheme == "dark")


# How much brighter one of text and ground is than the other, as WCAG counts it.
CONTRAST = """(() => {
  const light = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0.05);
  const part = document.querySelector('PART');
  let ground = part;
  while (/, 0\\)$/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
  const both = [light(getComputedStyle(part).color), light(getComputedStyle(ground).backgroundColor)];
  return Math.max(...both) / Math.min(...both);
})()"""


def test_the_search_stays_in_sight_where_the_list_of_pages_is_scrolled(site, tmp_path):
    with browser.page(f"{site}/page39.html", tmp_path) as page:
        page.until("document.querySelector('.wy-side-scroll')?.scrollTop > 0")
        top = "document.querySelector('.wy-side-nav-search [role=search]').getBoundingClientRect().top"
        assert page.run(top) >= 0
