"""Which session a test of the suite runs in.

Tests that want the same options share one session, because starting one per test would cost more
than the tests. Knows how sessions are started and ended, not what an engine does.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

import heliostat as ray
from heliostat.testing.clock import until

F = TypeVar("F", bound=Callable[..., Any])
Options = Mapping[str, Any]

STANDARD: Options = {
    "num_cpus": 4,
    "num_gpus": 2,
    "resources": {"spoon": 2},
    "object_store_memory": 256 << 20,
}


def with_session(**options: Any) -> Callable[[F], F]:
    """Give the test a session with these options of `init` instead of the standard one."""

    def mark(test: F) -> F:
        test.session_options = options  # type: ignore[attr-defined]  # read by SharedSession
        return test

    return mark


def without_session(test: F) -> F:
    """Begin the test with no session; it may leave one behind, which is then ended."""
    test.session_options = None  # type: ignore[attr-defined]  # read by SharedSession
    return test


class SharedSession:
    """The fixture beneath every group of tests."""

    engine: ClassVar[str]
    cannot: ClassVar[Mapping[str, str]] = {}
    settle_s: ClassVar[float] = 5.0
    _running: ClassVar[Options | None] = None

    @pytest.fixture(autouse=True)
    def session(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        """A session with the options that the test wants."""
        test = request.function
        if test.__name__ in self.cannot:
            pytest.skip(self.cannot[test.__name__])
        # Sessions that the test starts by itself, or by first use, are of this engine too.
        monkeypatch.setenv("HELIOSTAT_ENGINE", self.engine)
        wanted = getattr(test, "session_options", STANDARD)
        self._enter(wanted)
        yield
        if wanted is None or not ray.is_initialized():
            self._enter(None)
        else:
            self._expect_idle()

    @classmethod
    def teardown_class(cls) -> None:
        """End the last session."""
        cls._enter(None)

    @classmethod
    def _enter(cls, wanted: Options | None) -> None:
        if wanted is not None and wanted == cls._running and ray.is_initialized():
            return
        ray.shutdown()
        cls._running = wanted
        if wanted is not None:
            ray.init(engine=cls.engine, **wanted)

    def _expect_idle(self) -> None:
        """Whatever the test took of the cluster has come back; else others get a fresh one."""
        if _idle():
            return
        gc.collect()
        try:
            until(_idle, "all resources are free again after the test", self.settle_s)
        except AssertionError:
            self._enter(None)
            raise


def _idle() -> bool:
    free, total = ray.available_resources(), ray.cluster_resources()
    return all(
        free.get(name, 0.0) == total[name] for name in ("CPU", "GPU", "spoon") if name in total
    )


class Gate:
    """Something that opens once, seen by all processes: a file.

    Args:
        folder: Where to put it.
        name: Its name there.
    """

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self.path = folder / name

    def open(self) -> None:
        """Let everybody through."""
        self.path.touch()

    def is_open(self) -> bool:
        """Whether somebody opened it."""
        return self.path.exists()

    def wait(self, timeout_s: float = 20.0) -> None:
        """Block until it is open."""
        until(self.is_open, f"{self.path.name} is open", timeout_s)


class Tally:
    """A count that survives the death of the process that counts: the size of a file.

    Args:
        folder: Where to put it.
        name: Its name there.
    """

    def __init__(self, folder: Path, name: str = "tally") -> None:
        self.path = folder / name

    def add(self) -> int:
        """Count one more.

        Returns:
            The count so far.
        """
        with self.path.open("ab") as file:
            file.write(b".")
        return self.count()

    def count(self) -> int:
        """How often `add` was called."""
        return self.path.stat().st_size if self.path.exists() else 0
