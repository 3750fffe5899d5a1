"""A real browser opens the dashboard's pages, and a report of the same run: both show what there is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import heliostat as ray
from heliostat import dashboard
from tests.browser import Page, page, program

NAMES = (
    "overview", "timeline", "tasks", "actors", "objects", "workers", "logs", "data", "train", "tune",
    "serve", "jobs",
)  # fmt: skip
HEARD = """
window.heard = [];
addEventListener("error", (event) => { if (event.message) heard.push(event.message); });
addEventListener("unhandledrejection", (event) => heard.push(String(event.reason)));
"""

ENDED = "[...document.querySelectorAll('button')].find((b) => b.innerText === 'Ended')"


@ray.remote
def square(x: int) -> int:
    print("<img src=x onerror=alert(1)>", x)
    return x * x


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dashboard.Dashboard]:
    if program() is None:
        pytest.skip("needs Chromium")
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path / "state"))
    ray.init(num_cpus=2)
    shown = dashboard.start()
    assert ray.get([square.remote(n) for n in range(5)]) == [0, 1, 4, 9, 16]
    yield shown
    shown.close()
    ray.shutdown()


def open_every_page(one: Page) -> None:
    one.ask("Page.enable")
    one.ask("Page.addScriptToEvaluateOnNewDocument", source=HEARD)
    one.ask("Page.reload")
    one.until("window.heard !== undefined && document.querySelector('h1') !== null")
    for name in NAMES:
        one.run(f"location.hash = '#/{name}'")
        one.until(f"location.hash.includes({name!r}) && document.querySelector('h1') !== null")
        one.until("!document.body.innerText.includes('reading')")
    one.run("location.hash = '#/tasks'")
    one.until(f"{ENDED} !== undefined")
    one.run(f"{ENDED}.click()")
    one.until("document.body.innerText.includes('square')")
    assert one.run("document.querySelector('select').selectedOptions[0].innerText") == "all"
    assert one.run("document.querySelectorAll('main img').length") == 0
    assert one.run("heard.filter((text) => !text.includes('ResizeObserver'))") == []


def test_every_page_of_a_running_program_opens(run: dashboard.Dashboard, tmp_path: Path) -> None:
    with page(run.url, tmp_path / "chromium") as one:
        open_every_page(one)
    shutil.rmtree(tmp_path / "chromium", ignore_errors=True)


def test_every_page_of_a_report_opens(run: dashboard.Dashboard, tmp_path: Path) -> None:
    run.close()
    report = tmp_path / "report.html"
    dashboard.write_report(None, report)
    with page(report.as_uri(), tmp_path / "chromium") as one:
        open_every_page(one)
    shutil.rmtree(tmp_path / "chromium", ignore_errors=True)
