"""The end of an actor in peace, where something is in its way."""

import asyncio
import atexit
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat._engines.local.worker import worker
from heliostat.exceptions import RayActorError
from heliostat.testing.clock import until


@pytest.fixture
def session() -> Iterator[None]:
    ray.init(num_cpus=2, num_gpus=1)
    yield
    ray.shutdown()


@ray.remote(max_concurrency=4)
class Slow:
    """Its end waits for a file, or for ever."""

    def __init__(self, folder: Path, grace_s: float = 30.0) -> None:
        self.folder = folder
        worker.GRACE_S = grace_s

    def pid(self) -> int:
        return os.getpid()

    def leave(self) -> None:
        ray.actor.exit_actor()

    def quit(self) -> None:
        sys.exit(3)

    def hang(self) -> None:
        threading.Event().wait()

    def __ray_shutdown__(self) -> None:
        (self.folder / f"begun {time.monotonic_ns()}").touch()
        until(lambda: (self.folder / "go").exists(), timeout_s=60)
        (self.folder / "ended").touch()


def begun(folder: Path) -> int:
    return len(list(folder.glob("begun *")))


def process_of(actor: Any) -> Path:
    return Path(f"/proc/{ray.get(actor.pid.remote())}")


def test_an_end_that_hangs_is_cut_short_and_says_where(
    session: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    actor = Slow.remote(tmp_path, 0.5)
    process = process_of(actor)
    del actor
    until(lambda: not process.exists())
    assert begun(tmp_path) == 1
    assert not (tmp_path / "ended").exists()
    shown: list[str] = []

    def says_where() -> bool:
        shown.append(capfd.readouterr().err)
        return "in __ray_shutdown__" in "".join(shown)

    until(says_where)


def test_what_an_actor_holds_is_free_when_its_end_has_ended(session: None, tmp_path: Path) -> None:
    first = Slow.options(num_gpus=1).remote(tmp_path)
    ray.get(first.pid.remote())
    del first
    second = Slow.options(num_gpus=1).remote(tmp_path)
    up = second.pid.remote()
    until(lambda: begun(tmp_path) == 1)
    assert ray.wait([up], timeout=0.3) == ([], [up])
    (tmp_path / "go").touch()
    assert ray.get(up, timeout=20)


@pytest.mark.parametrize("how", ["leave", "quit"])
def test_other_threads_do_not_end_it_twice(session: None, tmp_path: Path, how: str) -> None:
    actor = Slow.remote(tmp_path)
    process = process_of(actor)
    hangs = actor.hang.remote()
    leaving = [getattr(actor, how).remote() for _ in range(3)]
    until(lambda: begun(tmp_path) == 1)
    later = actor.pid.remote()
    assert ray.wait([hangs, later, *leaving], timeout=0.3)[0] == []
    (tmp_path / "go").touch()
    for ref in (hangs, later, *leaving):
        with pytest.raises(RayActorError):
            ray.get(ref, timeout=20)
    until(lambda: not process.exists())
    assert begun(tmp_path) == 1


class Leaves:
    """Its end ends in another one."""

    def __init__(self, folder: Path) -> None:
        atexit.register((folder / "atexit").touch)

    def pid(self) -> int:
        return os.getpid()

    def __ray_shutdown__(self) -> None:
        sys.exit(3)


class AsyncLeaves(Leaves):
    """The same on an event loop."""

    async def __ray_shutdown__(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        ray.actor.exit_actor()


@pytest.mark.parametrize("kind", [Leaves, AsyncLeaves])
def test_an_end_may_leave_once_more(session: None, tmp_path: Path, kind: type) -> None:
    actor: Any = ray.remote(kind).remote(tmp_path)
    process = process_of(actor)
    with pytest.raises(RayActorError, match="exit_actor"):
        ray.get(actor.__ray_terminate__.remote(), timeout=20)
    until(lambda: not process.exists())
    assert (tmp_path / "atexit").exists()


class Cancelled:
    """Its end cancels all that runs, itself with it, as ends of asyncio programs do."""

    async def pid(self) -> int:
        return os.getpid()

    async def __ray_shutdown__(self) -> None:
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.sleep(60)


def test_an_async_end_that_cancels_itself_is_one(session: None) -> None:
    actor: Any = ray.remote(Cancelled).remote()
    process = process_of(actor)
    with pytest.raises(RayActorError, match="exit_actor"):
        ray.get(actor.__ray_terminate__.remote(), timeout=20)
    until(lambda: not process.exists())


def test_an_object_that_goes_may_still_call_others(session: None, tmp_path: Path) -> None:
    @ray.remote
    class Last:
        def __init__(self, other: Any) -> None:
            self.other = other
            atexit.register(lambda: self.note("atexit"))

        def pid(self) -> int:
            return os.getpid()

        def note(self, moment: str) -> None:
            (tmp_path / f"{moment} {ray.get(self.other.pid.remote())}").touch()

        def __del__(self) -> None:
            (tmp_path / f"del {ray.get(self.other.pid.remote())}").touch()

    other = ray.remote(AsyncLeaves).remote(tmp_path)
    pid = ray.get(other.pid.remote())
    last: Any = Last.remote(other)
    process = process_of(last)
    del last
    until(lambda: not process.exists())
    assert sorted(one.name for one in tmp_path.iterdir()) == [f"atexit {pid}", f"del {pid}"]


def test_the_end_of_the_session_waits_for_no_actor(tmp_path: Path) -> None:
    ray.init(num_cpus=2)
    one, other = Slow.remote(tmp_path), Slow.remote(tmp_path)
    processes = [process_of(one), process_of(other)]
    del one
    until(lambda: begun(tmp_path) == 1)
    start = time.monotonic()
    ray.shutdown()
    assert time.monotonic() - start < 5
    until(lambda: not any(one.exists() for one in processes))
    assert begun(tmp_path) == 1


def test_an_end_may_call_others_whose_handles_it_has(session: None, tmp_path: Path) -> None:
    @ray.remote
    class Last:
        def __init__(self, other: Any) -> None:
            self.other = other

        def pid(self) -> int:
            return os.getpid()

        def __ray_shutdown__(self) -> None:
            (tmp_path / str(ray.get(self.other.pid.remote()))).touch()

    other = Last.remote(None)
    last = Last.remote(other)
    process, pid = process_of(last), ray.get(other.pid.remote())
    del other, last
    until(lambda: not process.exists())
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert [one.name for one in tmp_path.iterdir()] == [str(pid)]
