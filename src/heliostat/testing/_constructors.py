"""The suite's tests of actors whose constructor does not end well."""

# mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import os
from pathlib import Path

import pytest

import heliostat as ray
from heliostat.exceptions import ActorDiedError, GetTimeoutError
from heliostat.testing._session import Gate, SharedSession, Tally


class ConstructorTests(SharedSession):
    """It raises, dies each time, or never ends."""

    def test_an_actor_that_dies_in_each_construction_is_restarted_so_often_and_no_more(
        self, tmp_path: Path
    ) -> None:
        tally = Tally(tmp_path)

        @ray.remote(max_restarts=3)
        class Loop:
            def __init__(self) -> None:
                tally.add()
                os._exit(3)

            def one(self) -> int:
                return 1

        loop = Loop.remote()
        with pytest.raises(ActorDiedError, match="exit code 3"):
            ray.get(loop.one.remote(), timeout=30)
        assert tally.count() == 4

    def test_a_constructor_that_raises_is_not_repeated(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote(max_restarts=3)
        class Raises:
            def __init__(self) -> None:
                tally.add()
                raise KeyError("no such thing")

            def one(self) -> int:
                return 1

        with pytest.raises(ActorDiedError, match="no such thing"):
            ray.get(Raises.remote().one.remote(), timeout=30)
        assert tally.count() == 1

    def test_a_constructor_that_hangs_can_be_waited_for_and_killed(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        class Hangs:
            def __init__(self) -> None:
                gate.wait(60)

            def one(self) -> int:
                return 1

        hangs = Hangs.remote()
        ref = hangs.one.remote()
        with pytest.raises(GetTimeoutError):
            ray.get(ref, timeout=0.1)
        ray.kill(hangs)
        with pytest.raises(ActorDiedError, match=r"killed by ray\.kill"):
            ray.get(ref, timeout=30)
