"""A long wait is explained now and then, and is still a wait."""

import pytest

from heliostat._engines.local.output import notices
from heliostat._engines.local.transport.waiting import Lead, Waiter


@pytest.fixture
def times(monkeypatch):
    monkeypatch.setattr(notices, "_WHEN_S", (0.01, 0.03))


def wait(waiter, timeout_s, reasons, reads=None):
    left = list(reads or [])

    def read(limit_s, ready):
        assert limit_s is None or limit_s >= 0
        if left:
            left.pop()()

    return notices.wait(Lead(read, lambda: True), waiter, timeout_s, lambda ids: reasons)


@pytest.mark.usefixtures("times")
def test_a_wait_without_end_is_explained_at_each_time(capsys):
    waiter = Waiter(missing=1)
    reasons = [f"task {n} runs" for n in range(7)]
    assert not wait(waiter, 0.05, reasons)
    text = capsys.readouterr().err
    assert text.count("heliostat: waiting for 0 s, because") == 2
    assert "  task 4 runs\n  and 2 more\n" in text


@pytest.mark.usefixtures("times")
def test_a_short_wait_says_nothing(capsys):
    waiter = Waiter(missing=1)

    def come():
        waiter.missing = 0

    assert wait(waiter, None, ["never"], [come])
    assert not wait(Waiter(missing=1), 0.005, ["never"])
    assert capsys.readouterr().err == ""


def test_notices_are_for_terminals_unless_asked_for(monkeypatch):
    monkeypatch.delenv("HELIOSTAT_WAIT_NOTICE", raising=False)
    assert not notices.wanted()  # standard error is captured
    monkeypatch.setenv("HELIOSTAT_WAIT_NOTICE", "1")
    assert notices.wanted()
