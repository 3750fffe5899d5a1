"""What is told in pieces is read whole, and silence ends."""

import pytest

from heliostat.util import _heard


def test_what_is_told_in_pieces_is_read_whole() -> None:
    pieces = iter(["", "", "a", "a", "ab"])
    assert _heard.heard(lambda: next(pieces, "abc")) == "abc"


def test_who_says_nothing_is_waited_for_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_heard, "WAIT_S", 0.05)
    assert _heard.heard(lambda: b"") == b""
