"""A hundred thousand tasks and ten thousand trials are listed in a real browser without a freeze."""

import shutil
from pathlib import Path

import pytest

from heliostat import dashboard
from heliostat.dashboard._history import History, folder
from tests.browser import Page, page, program
from tests.dashboard.test_browser import ENDED, HEARD, PROBLEMS, ROWS, show, turn_to

TASKS, TRIALS = 100_000, 10_000
# What the page's thread has worked, which a busy machine does not make longer; as a rule a second.
WORKED_S = 10


def history_of_many() -> str:
    history = History(folder() / "many.db", new=True)
    rows = [
        (f"{n:08x}", f"f{n % 7}", "FINISHED", "NORMAL_TASK", None, 7 + n % 4, 0.0, n, n + 2.0, 2.0)
        for n in range(TASKS)
    ]
    history.add_tasks(rows)
    history.put("session", {"run": "many", "program": "many.py", "pid": 1, "started_at": 1.0,
                            "ended_at": 2.0, "heliostat": "0", "python": "3"})  # fmt: skip
    trials = [
        {"trial_id": str(n), "name": f"trial_{n}", "state": "TERMINATED", "config": {"lr": n / 9},
         "metrics": {"loss": (n * 7919) % TRIALS}, "iteration": 1, "seconds": 1.0, "failures": 0,
         "error": "", "curve": [[1, n], [2, n / 2]] if n < 500 else []}
        for n in range(TRIALS)
    ]  # fmt: skip
    study = {"name": "many", "path": "/many", "state": "FINISHED", "metric": "loss", "mode": "min",
             "counts": {"TERMINATED": TRIALS}, "total": TRIALS, "parameters": ["lr"],
             "metrics": ["loss"], "trials": trials, "started_at": 1.0, "seconds": 9.0}  # fmt: skip
    history.put("tune", {"rows": [study]})
    history.close()
    return "many"


def worked(one: Page) -> float:
    measured = one.ask("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in measured if one["name"] == "ThreadTime")


def scroll_through(one: Page, rows: int) -> None:
    one.until(f"document.querySelector('.table-foot').innerText === '{rows:,} rows'")
    for part in (0.25, 0.5, 0.9, 1):
        one.run(f"{ROWS}.scrollTop = {part} * {ROWS}.scrollHeight")
        one.until("document.querySelectorAll('tbody .ghost').length === 0")
    one.until(f"document.querySelector('tr[aria-rowindex=\"{rows + 1}\"]') !== null")
    assert one.run("document.querySelectorAll('*').length") < 5000


@pytest.mark.slow
@pytest.mark.skipif(program() is None, reason="needs Chromium")
def test_long_tables_are_scrolled_to_their_end_without_a_freeze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    shown = dashboard.show(history_of_many())
    try:
        with page("about:blank", tmp_path / "chromium") as one:
            one.ask("Page.enable")
            one.ask("Page.addScriptToEvaluateOnNewDocument", source=HEARD)
            one.ask("Performance.enable")
            show(one, shown.url)
            turn_to(one, "tasks")
            before = worked(one)
            one.run(f"{ENDED}.click()")
            scroll_through(one, TASKS)
            turn_to(one, "tune")
            scroll_through(one, TRIALS)
            assert worked(one) - before < WORKED_S
            assert one.run(PROBLEMS) == []
    finally:
        shown.close()
        shutil.rmtree(tmp_path / "chromium", ignore_errors=True)
