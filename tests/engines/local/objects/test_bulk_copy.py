"""What is copied past the caches is what was there, and nothing beside it is touched."""

from __future__ import annotations

import platform
import sys

import numpy as np
import pytest

from heliostat._engines.local.objects import bulk_copy

LINE = 64
MARK = 0xA5


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="there are no such stores"
)
def test_this_machine_copies_past_its_caches() -> None:
    assert bulk_copy.past_caches() is not None


@pytest.mark.parametrize("size", [LINE, 2 * LINE, 1 << 16])
@pytest.mark.parametrize("of", [0, 1, 17])
def test_lines_are_copied_from_any_place(size: int, of: int) -> None:
    lines = bulk_copy.past_caches()
    if lines is None:
        pytest.skip("there are no such stores")
    source = np.random.default_rng(size).integers(0, 256, size + 64, dtype=np.uint8)
    room = np.full(size + 3 * LINE, MARK, np.uint8)
    start = LINE - room.ctypes.data % LINE
    lines(room.ctypes.data + start, source.ctypes.data + of, size)
    assert np.array_equal(room[start : start + size], source[of : of + size])
    assert (room[:start] == MARK).all()
    assert (room[start + size :] == MARK).all()


@pytest.mark.parametrize("past", [True, False])
@pytest.mark.parametrize("size", [8 << 20, 32 << 20, (32 << 20) + 12_345])
@pytest.mark.parametrize("start", [0, 1])
def test_a_copy_is_equal_and_stays_within_its_bounds(
    monkeypatch: pytest.MonkeyPatch, size: int, start: int, past: bool
) -> None:
    if not past:  # as on a machine that has none
        monkeypatch.setattr(bulk_copy, "past_caches", lambda: None)
    source = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    source.flags.writeable = False
    room = np.full(size + 2, MARK, np.uint8)
    bulk_copy.copy(room[start : start + size], source)
    assert np.array_equal(room[start : start + size], source)
    assert room[start - 1 if start else size] == MARK
    assert room[size + 1] == MARK
