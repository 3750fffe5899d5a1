"""The suite's tests of workers that are stopped by a signal and may never go on."""

# mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

import heliostat as ray
from heliostat.exceptions import WorkerCrashedError
from heliostat.testing._session import SharedSession, Tally


class StopTests(SharedSession):
    """SIGSTOP in the middle of work."""

    def test_a_stopped_worker_is_replaced(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote
        def task() -> str:
            if tally.add() == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            return "done"

        assert ray.get(task.remote(), timeout=30) == "done"
        assert tally.count() == 2

    def test_a_stopped_worker_without_retries_is_an_error_that_says_so(self) -> None:
        @ray.remote(max_retries=0)
        def task() -> None:
            os.kill(os.getpid(), signal.SIGSTOP)

        with pytest.raises(WorkerCrashedError, match=r"stopped for 2 s, as by SIGSTOP"):
            ray.get(task.remote(), timeout=30)

    def test_a_worker_that_is_stopped_for_a_moment_goes_on(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote
        def task() -> str:
            tally.add()
            me = os.getpid()
            with subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -CONT {me}"]):
                os.kill(me, signal.SIGSTOP)
            return "went on"

        assert ray.get(task.remote(), timeout=30) == "went on"
        assert tally.count() == 1

    def test_a_stopped_actor_is_restarted(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote(max_restarts=1, max_task_retries=1)
        class Stops:
            def stop(self) -> bool:
                if tally.add() == 1:
                    os.kill(os.getpid(), signal.SIGSTOP)
                return bool(ray.get_runtime_context().was_current_actor_reconstructed)

        assert ray.get(Stops.remote().stop.remote(), timeout=30) is True
