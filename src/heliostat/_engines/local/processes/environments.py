"""Make the environments that tasks ask for, on threads of their own. Decides nothing.

Files are copied into the session's directory, packages come from the cache of `venvs`, and a
zygote is started where the environment has an interpreter of its own.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from heliostat._core import runtime_env
from heliostat._engines.local import failures
from heliostat._engines.local.messages import Described, Prepared, Value
from heliostat._engines.local.processes import snapshots
from heliostat._engines.local.processes.cache_dir import SessionDirectory
from heliostat._engines.local.processes.pool import Launch, Pool, ZygoteProcess
from heliostat._engines.local.processes.venvs import Cancelled, Installer
from heliostat._engines.local.worker.birth import Birth
from heliostat.exceptions import RuntimeEnvSetupError

# Does something where the hub's tables are, then tells the scheduler; False if the session has ended.
Announce = Callable[[Prepared, Callable[[], None]], bool]


class Environments:
    """The environments of one session.

    Args:
        pool: Starts zygotes.
        announce: Told when an environment is there, or cannot be; on any thread.
    """

    def __init__(self, pool: Pool, announce: Announce) -> None:
        self._pool = pool
        self._announce = announce
        self._births: dict[bytes, Birth] = {}
        self._directory = SessionDirectory()
        self._installer = Installer()
        self._lock = threading.Lock()  # one environment's files are copied at a time
        self._threads: set[threading.Thread] = set()
        self._starting: set[ZygoteProcess] = set()
        self._starting_lock = threading.Lock()
        self._closed = False

    def describe(self, event: Described) -> None:
        """Remember what an environment is."""
        if event.env in self._births:
            return
        env = json.loads(event.text)
        self._births[event.env] = Birth(
            key=event.env,
            text=event.text,
            variables=runtime_env.variables(env, os.environ),
            folder="",
            paths=[],
            hook=event.hook,
            hook_name="" if event.hook else env.get("worker_process_setup_hook", ""),
        )

    def birth(self, key: bytes) -> Birth:
        """What sets a worker of this environment apart."""
        return self._births[key]

    def prepare(self, key: bytes) -> None:
        """Make an environment; `announce` hears of it."""
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        thread = threading.Thread(
            target=self._make, args=(key,), name="heliostat-environment", daemon=True
        )
        self._threads.add(thread)
        thread.start()

    def _make(self, key: bytes) -> None:
        env = json.loads(self._births[key]["text"])
        zygote: ZygoteProcess | None = None
        error: Value | None = None
        try:
            zygote = self._prepared(key, env)
        except Cancelled:
            return
        except RuntimeEnvSetupError as failure:
            error = failures.as_value(failure)
        except Exception as failure:  # noqa: BLE001 - a thread's boundary: its tasks must hear of it
            error = failures.environment(
                f"the runtime_env {_short(env)} could not be set up: "
                f"{type(failure).__name__}: {failure}"
            )

        def adopt() -> None:
            if zygote is not None:
                self._pool.adopt(key, zygote)

        if not self._announce(Prepared(key, error), adopt) and zygote is not None:
            zygote.close()

    def _prepared(self, key: bytes, env: Mapping[str, Any]) -> ZygoteProcess | None:
        config = env.get("config", {})
        limit_s = config.get("setup_timeout_seconds", 600)
        deadline = float("inf") if limit_s == -1 else time.monotonic() + limit_s
        birth = self._births[key]
        with self._lock:
            self._copy_files(birth, env)
        if not runtime_env.own_interpreter(env):
            return None
        command: list[str] = [sys.executable]
        packages = env.get("pip") or env.get("uv")
        if packages:
            python = self._installer.interpreter(packages, deadline, config.get("log_files", ()))
            command = [python]
            birth["variables"].setdefault("VIRTUAL_ENV", os.path.dirname(os.path.dirname(python)))
            path = birth["variables"].get("PATH", os.environ.get("PATH", ""))
            birth["variables"]["PATH"] = f"{os.path.dirname(python)}{os.pathsep}{path}"
        if "py_executable" in env:
            command = _command(env["py_executable"], birth["folder"])
        own = bool(packages) or "py_executable" in env
        return self._started(command, birth["variables"], deadline, own_packages=own)

    def _copy_files(self, birth: Birth, env: Mapping[str, Any]) -> None:
        excludes = env.get("excludes", ())
        if "working_dir" in env and not birth["folder"]:
            folder = self._copy(env["working_dir"], excludes, as_module=False)
            birth["folder"], birth["paths"] = folder, [folder]
        elif birth["paths"]:
            return
        modules = [self._copy(p, excludes, as_module=True) for p in env.get("py_modules", ())]
        birth["paths"] = [*birth["paths"], *modules]

    def _copy(self, source: str, excludes: list[str], *, as_module: bool) -> str:
        name = f"{len(os.listdir(self._directory.path()))}"
        target = os.path.join(self._directory.path(), name)
        snapshots.take(source, target, excludes, as_module=as_module)
        return target

    def _started(
        self, command: list[str], variables: dict[str, str], deadline: float, *, own_packages: bool
    ) -> ZygoteProcess:
        log = os.memfd_create("heliostat-zygote")
        try:
            launch = Launch(tuple(command), self._pool.environ(variables), own_packages, log)
            with self._starting_lock:
                if self._closed:
                    raise Cancelled
                zygote = self._pool.start(launch)
                self._starting.add(zygote)
            limit = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
            try:
                if zygote.greeted(limit):
                    return zygote
                reason = "it ended at once"
            except TimeoutError:
                reason = "it was not there when setup_timeout_seconds were over"
            finally:
                with self._starting_lock:
                    self._starting.discard(zygote)
            zygote.close()
            if self._closed:
                raise Cancelled
            said = os.pread(log, 1 << 16, 0).decode(errors="replace").strip()
            raise RuntimeEnvSetupError(
                f"the interpreter {shlex.join(command)} did not become a worker: {reason}. "
                f"It said:\n{said}"
            )
        finally:
            os.close(log)

    def close(self) -> None:
        """Stop what is being made, and remove all files."""
        self._installer.close()
        with self._starting_lock:
            self._closed = True
            for zygote in self._starting:
                zygote.kill_at_once()
        for thread in self._threads:
            thread.join()
        self._directory.close()


def _command(text: str, folder: str) -> list[str]:
    words = shlex.split(text)
    inside = os.path.join(folder, words[0])
    if folder and os.path.exists(inside):
        words[0] = inside
    elif "/" not in words[0]:
        import shutil  # noqa: PLC0415 - only here

        if shutil.which(words[0]) is None:
            raise RuntimeEnvSetupError(
                f"py_executable={text!r}: there is no program {words[0]!r} in PATH"
            )
    elif not os.path.exists(words[0]):
        raise RuntimeEnvSetupError(f"py_executable={text!r}: there is no file {words[0]!r}")
    return words


def _short(env: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in env.items() if key != "config"})
    return text if len(text) <= 200 else text[:197] + "..."
