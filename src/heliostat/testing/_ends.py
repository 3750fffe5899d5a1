"""The suite's tests of how actors end in peace: what their class and their process do then."""

# mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type"

from __future__ import annotations

import asyncio
import atexit
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat.exceptions import RayActorError
from heliostat.testing._session import SharedSession
from heliostat.testing.clock import until


def _ends(kind: str) -> Any:
    """An actor that writes down how it ends."""

    class Ends:
        def __init__(self, file: Path, other: Any) -> None:
            self.file, self.other = file, other
            atexit.register(_append, file, "atexit")

        def ready(self) -> int:
            return os.getpid()

        def leave(self) -> None:
            ray.actor.exit_actor()

        def quit(self) -> None:
            sys.exit(3)

        def __ray_shutdown__(self) -> None:
            actor = ray.get_runtime_context().get_actor_id()
            _append(self.file, f"shutdown {ray.get(self.other.one.remote())} {bool(actor)}")

        def __del__(self) -> None:
            _append(self.file, "del")

    class AsyncEnds(Ends):
        async def ready(self) -> int:  # type: ignore[override]
            return os.getpid()

    if kind == "threads":
        return ray.remote(max_concurrency=2)(Ends)
    return ray.remote(AsyncEnds if kind == "async" else Ends)


@ray.remote(num_cpus=0)
class _Other:
    def one(self) -> int:
        return 1


def _append(file: Path, line: str) -> None:
    with file.open("a") as out:
        out.write(f"{line}\n")


def _written(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


class ActorEndTests(SharedSession):
    """`__ray_shutdown__`, `atexit` and `__del__` of actors, and which ends they are for."""

    @pytest.mark.parametrize("how", ["no handle", "leave", "quit", "__ray_terminate__"])
    @pytest.mark.parametrize("kind", ["plain", "threads", "async"])
    def test_an_actor_that_ends_in_peace_lets_go_of_what_it_holds(
        self, kind: str, how: str, tmp_path: Path
    ) -> None:
        file, other = tmp_path / "lines", _Other.remote()
        actor = _ends(kind).remote(file, other)
        ray.get(actor.ready.remote())
        if how == "no handle":
            del actor
        else:
            with pytest.raises(RayActorError):
                ray.get(getattr(actor, how).remote(), timeout=20)
        until(lambda: len(_written(file)) == 3)
        assert sorted(_written(file)) == ["atexit", "del", "shutdown 1 True"]

    def test_a_killed_actor_is_not_shut_down(self, tmp_path: Path) -> None:
        actor = _ends("plain").remote(tmp_path / "lines", None)
        process = Path(f"/proc/{ray.get(actor.ready.remote())}")
        ray.kill(actor)
        until(lambda: not process.exists())
        assert set(_written(tmp_path / "lines")) <= {"del"}

    def test_an_async_end_is_awaited(self, tmp_path: Path) -> None:
        @ray.remote
        class Slow:
            def __init__(self, other: Any) -> None:
                self.other = other

            async def ready(self) -> int:
                return await self.other.one.remote()  # type: ignore[no-any-return]

            async def __ray_shutdown__(self) -> None:
                await asyncio.sleep(0.05)
                _append(tmp_path / "lines", str(await self.other.one.remote()))

        other = _Other.remote()
        actor = Slow.remote(other)
        ray.get(actor.ready.remote())
        del actor
        until(lambda: _written(tmp_path / "lines") == ["1"])

    def test_an_error_at_the_end_is_no_reason_to_stay(self, tmp_path: Path) -> None:
        @ray.remote
        class Bad:
            def __init__(self) -> None:
                atexit.register(_append, tmp_path / "lines", "atexit")

            def pid(self) -> int:
                return os.getpid()

            def __ray_shutdown__(self) -> None:
                raise ValueError("no")

        actor = Bad.remote()
        process = Path(f"/proc/{ray.get(actor.pid.remote())}")
        with pytest.raises(RayActorError):
            ray.get(actor.__ray_terminate__.remote(), timeout=20)
        until(lambda: not process.exists())
        assert _written(tmp_path / "lines") == ["atexit"]
