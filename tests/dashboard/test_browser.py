"""A real browser opens the dashboard's pages, and a report of the same run: both show what there is."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import heliostat as ray
from heliostat import dashboard, serve
from heliostat.dashboard._history import History, folder
from heliostat.testing.clock import until
from tests.browser import Page, page, program
from tests.dashboard import everything

NAMES = (
    "overview", "timeline", "tasks", "actors", "objects", "workers", "logs", "data", "train", "tune",
    "serve", "jobs",
)  # fmt: skip
HEARD = """
window.heard = [];
addEventListener("error", (event) => { if (event.message) heard.push(event.message); });
addEventListener("unhandledrejection", (event) => heard.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => heard.push(event.violatedDirective));
console.error = (...words) => heard.push(words.join(" "));
"""
PROBLEMS = "heard.filter((text) => !text.includes('ResizeObserver'))"
ENDED = "[...document.querySelectorAll('button')].find((b) => b.innerText === 'Ended')"
ROWS = "document.querySelector('.table-scroll')"
CUT = """[...document.querySelectorAll('td .pill')].filter((pill) =>
  pill.getBoundingClientRect().right > pill.closest('td').getBoundingClientRect().right).length"""
PLACE = "document.querySelector('.side [aria-current]').getBoundingClientRect()"
FOCUSED = "document.activeElement"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dashboard.Dashboard]:
    if program() is None:
        pytest.skip("needs Chromium")
    place = tmp_path_factory.mktemp("everything")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELIOSTAT_STATE_DIR", str(place / "state"))
        patch.setenv("HELIOSTAT_PROGRESS", "0")
        ray.init(num_cpus=4)
        shown = dashboard.start()
        kept = everything.do(place, port)
        yield shown
        serve.shutdown()
        shown.close()
        del kept
        ray.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    place = tmp_path_factory.mktemp("chromium")
    with page("about:blank", place) as one:
        one.ask("Page.enable")
        one.ask("Page.addScriptToEvaluateOnNewDocument", source=HEARD)
        yield one
    shutil.rmtree(place, ignore_errors=True)


def show(one: Page, url: str) -> None:
    one.ask("Page.navigate", url=url)
    one.until("window.heard !== undefined && document.querySelector('h1') !== null")


def turn_to(one: Page, name: str) -> None:
    one.run(f"location.hash = '#/{name}'")
    one.until(f"location.hash.includes({name!r}) && document.querySelector('h1') !== null")
    one.until("!document.body.innerText.includes('reading')")


def open_every_page(one: Page) -> None:
    for name in NAMES:
        turn_to(one, name)
        assert one.run("document.querySelectorAll('main img').length") == 0, name
        assert one.run(PROBLEMS) == [], name
        assert "could not be drawn" not in one.run("document.body.innerText"), name
        wide = one.run("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} px too wide"
        assert one.run(CUT) == 0, f"{name} has states that are cut off"
    turn_to(one, "tasks")
    one.until(f"{ENDED} !== undefined")
    one.run(f"{ENDED}.click()")
    one.until(f"{ROWS}.querySelector('tbody .link') !== null")
    one.run(f"{ROWS}.scrollTop = {ROWS}.scrollHeight")  # where the first are
    one.until(f"document.body.innerText.includes({everything.EVIL!r})")
    assert one.run("document.querySelector('select').selectedOptions[0].innerText") == "all"


def say_what_ran(one: Page) -> None:
    """Each page has the names that would run, as text."""
    evil = everything.EVIL
    for name in ("actors", "train", "tune", "data"):
        turn_to(one, name)
        one.until(f"document.querySelector('main').innerText.includes({evil!r})")
    turn_to(one, "serve")
    one.until("document.querySelector('main').innerText.includes('<b>app</b>')")


@pytest.mark.parametrize("name", ["tasks", "actors", "objects", "workers", "tune"])
def test_a_table_shows_its_last_column_on_a_usual_screen(
    name: str, run: dashboard.Dashboard, browser: Page
) -> None:
    size = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.ask("Emulation.setDeviceMetricsOverride", **size)
    try:
        show(browser, run.url)
        turn_to(browser, name)
        browser.until(f"{ROWS} !== null && {ROWS}.querySelector('tbody .link') !== null")
        assert browser.run(f"{ROWS}.scrollWidth - {ROWS}.clientWidth") <= 0
        assert browser.run(CUT) == 0
    finally:
        browser.ask("Emulation.clearDeviceMetricsOverride")


def test_the_timeline_shows_what_still_runs(
    run: dashboard.Dashboard, browser: Page, tmp_path: Path
) -> None:
    @ray.remote(num_cpus=0)
    def wait() -> None:
        until((tmp_path / "go").exists)

    waiting = wait.remote()
    show(browser, run.url)
    turn_to(browser, "timeline")
    browser.until("document.querySelector('main').innerText.includes('1 of them had not ended')")
    assert browser.run(PROBLEMS) == []
    (tmp_path / "go").touch()
    ray.get(waiting)
    browser.until("!document.querySelector('main').innerText.includes('had not ended')")


def test_every_page_of_a_running_program_opens_and_names_are_inert(
    run: dashboard.Dashboard, browser: Page
) -> None:
    show(browser, run.url)
    open_every_page(browser)
    say_what_ran(browser)
    assert browser.run(PROBLEMS) == []


def test_something_is_seen_before_the_scripts_run_where_it_stays(
    run: dashboard.Dashboard, browser: Page
) -> None:
    place = "JSON.stringify(document.querySelector('.brand span')?.getBoundingClientRect())"
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    browser.ask("Page.navigate", url=run.url)
    browser.until("document.body?.innerText.includes('please allow it')")
    before = browser.run(place)
    browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    show(browser, run.url)
    assert before is not None
    assert browser.run(place) == before
    assert browser.run("document.querySelectorAll('.frame').length") == 1


def test_what_waits_is_said_in_words_and_the_choice_of_states_says_all_at_first(
    run: dashboard.Dashboard, browser: Page
) -> None:
    show(browser, run.url)
    turn_to(browser, "tasks")
    browser.until("document.querySelector('main').innerText.includes('waits for a worker')")
    assert browser.run("document.querySelector('select').selectedOptions[0]?.innerText") == "all"


def test_a_list_of_some_of_the_tasks_says_how_many_there_were(
    run: dashboard.Dashboard, browser: Page
) -> None:
    history = History(folder() / "burst.db", new=True)
    history.add_tasks(
        [
            (f"{n:08x}", "f", "FINISHED", "NORMAL_TASK", None, 7, 0.0, n, n + 2.0, 2.0)
            for n in range(3)
        ]
    )
    history.sample(1.0, {"ended in all": 100_000.0})
    history.put("session", {"run": "burst", "program": "burst.py", "pid": 1, "started_at": 1.0,
                            "ended_at": 2.0, "heliostat": "0", "python": "3"})  # fmt: skip
    history.close()
    shown = dashboard.show("burst")
    try:
        show(browser, shown.url)
        turn_to(browser, "tasks")
        browser.run(f"{ENDED}.click()")
        foot = "document.querySelector('.table-foot')?.innerText"
        browser.until(f"{foot}?.startsWith('3 rows')")
        assert "; 100,000 have ended: " in browser.run(foot)
    finally:
        shown.close()


def test_the_ids_of_objects_tell_them_apart(run: dashboard.Dashboard, browser: Page) -> None:
    show(browser, run.url)
    turn_to(browser, "objects")
    browser.until("document.querySelectorAll('tbody tr').length > 1")
    ids = browser.run(
        "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].innerText)"
    )
    shown = [text for text in ids if text]
    assert len(shown) > 1
    assert len(set(shown)) == len(shown)


def test_what_a_task_has_not_given_yet_is_nowhere(run: dashboard.Dashboard, browser: Page) -> None:
    show(browser, run.url)
    turn_to(browser, "objects")
    rows = "[...document.querySelectorAll('tbody tr')]"
    waits = f"{rows}.find((row) => row.cells[2]?.innerText === 'waits for a worker')"
    browser.until(f"({ROWS}.scrollTop = {ROWS}.scrollHeight, {waits} !== undefined)")
    assert browser.run(f"{waits}.cells[3].innerText") == "not there yet"


def test_colours_and_titles_of_terminals_are_left_out_of_logs(
    run: dashboard.Dashboard, browser: Page
) -> None:
    show(browser, run.url)
    turn_to(browser, "logs")
    names = browser.run("[...document.querySelector('select').options].map((o) => o.value)")
    for name in [name for name in names if name.endswith(".out")]:
        browser.run(f"document.querySelector('select').value = {name!r}")
        browser.run("document.querySelector('select').dispatchEvent(new Event('change'))")
        browser.until(f"document.querySelector('select').value === {name!r}")
        if browser.run(f"document.querySelector('pre').innerText.includes({everything.EVIL!r})"):
            break
    browser.until(f"document.querySelector('pre').innerText.includes({everything.EVIL + ' red'!r})")
    assert not browser.run(r"document.querySelector('pre').innerText.includes('\u001b')")
    assert browser.run("document.querySelectorAll('pre *').length") == 0


def test_keys_alone_lead_past_the_names_of_the_pages(
    run: dashboard.Dashboard, browser: Page
) -> None:
    show(browser, run.url)
    browser.press("Tab")
    assert browser.run(f"{FOCUSED}.innerText") == "Skip to the page"
    assert browser.run(f"{FOCUSED}.getBoundingClientRect().left") >= 0
    browser.press("Enter")
    assert browser.run(f"{FOCUSED}.id") == "main"


def test_keys_alone_lead_to_every_page(run: dashboard.Dashboard, browser: Page) -> None:
    show(browser, run.url)
    browser.press("Tab")
    seen = []
    for _ in NAMES:
        browser.press("Tab")
        seen.append(browser.run(f"{FOCUSED}.getAttribute('href')"))
        assert browser.run(f"getComputedStyle({FOCUSED}).outlineStyle") != "none"
    assert seen == [f"#/{name}" for name in NAMES]
    for name in reversed(NAMES):
        tab_to(browser, f"{FOCUSED}.getAttribute('href') === '#/{name}'", shift=True)
        browser.press("Enter")
        browser.until(f"location.hash.startsWith('#/{name}') && {FOCUSED}.id === 'main'")
        browser.until("!document.body.innerText.includes('reading')")
    assert browser.run(PROBLEMS) == []


def test_keys_alone_open_what_is_known_of_a_task(run: dashboard.Dashboard, browser: Page) -> None:
    show(browser, run.url)
    turn_to(browser, "tasks")
    tab_to(browser, f"{FOCUSED}.innerText === 'Ended'")
    browser.press(" ")
    browser.until("document.querySelector('tbody .link') !== null")
    tab_to(browser, f"{FOCUSED}.className === 'link'")
    browser.press("Enter")
    browser.until("document.querySelector('dialog[open]') !== null")
    browser.press("Escape")
    browser.until("document.querySelector('dialog') === null")
    assert browser.run(f"{FOCUSED}.className") == "link"


def tab_to(one: Page, wanted: str, *, shift: bool = False) -> None:
    for _ in range(40):
        if one.run(wanted):
            return
        one.press("Tab", shift=shift)
    raise AssertionError(f"no Tab leads to {wanted}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(run: dashboard.Dashboard, browser: Page, scheme: str) -> None:
    browser.ask(
        "Emulation.setDeviceMetricsOverride",
        width=390,
        height=800,
        deviceScaleFactor=1,
        mobile=True,
    )
    wish = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.ask("Emulation.setEmulatedMedia", features=wish)
    show(browser, run.url)
    open_every_page(browser)
    for name in ("jobs", "overview"):
        turn_to(browser, name)
        browser.until(f"{PLACE}.left > -1 && {PLACE}.right < innerWidth + 1")  # of its name
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(17, 20, 24)") == (scheme == "dark"), ground
    browser.ask("Emulation.clearDeviceMetricsOverride")
    browser.ask("Emulation.setEmulatedMedia", features=[])


def test_every_page_of_a_report_opens(
    run: dashboard.Dashboard, browser: Page, tmp_path: Path
) -> None:
    run.close()
    report = tmp_path / "report.html"
    dashboard.write_report(run.run, report)
    show(browser, report.as_uri())
    open_every_page(browser)
    say_what_ran(browser)
    assert browser.run(PROBLEMS) == []
