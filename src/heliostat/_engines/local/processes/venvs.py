"""Virtual environments, made by uv, kept in the user's cache by a hash of what was asked for.

An environment is whole when its marker is there, which is written last. Whoever makes one holds
its lock, and so does uv; whoever uses one holds it together with others. What was not used for
two weeks is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from heliostat._engines.local.processes import cache_dir
from heliostat.exceptions import RuntimeEnvSetupError

_MARKER = ".heliostat-complete"
_KEPT_S = 14 * 24 * 3600.0
_LAST_LINES = 40

# uv dies with the thread that waits for it: exec keeps what prctl has set.
_DIES_WITH_US = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
)


class Cancelled(Exception):
    """The session has ended meanwhile."""


class Installer:
    """Makes environments for one session, on any thread."""

    def __init__(self) -> None:
        self._leases: dict[str, int] = {}
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def interpreter(self, asked: Mapping[str, Any], deadline: float, logs: Sequence[str]) -> str:
        """The interpreter of an environment with these packages; made if it is not there.

        Args:
            asked: `packages`, and options by the names that `runtime_env` has for them.
            deadline: When to give up, as time.monotonic() counts.
            logs: Files that uv's output is added to.

        Raises:
            RuntimeEnvSetupError: With what uv said.
            Cancelled: If `close` was called meanwhile.
        """
        folder = os.path.join(cache_dir.below("venvs"), _key(asked))
        python = os.path.join(folder, "bin", "python")
        lock = self._lock_in_time(f"{folder}.lock", deadline)
        try:
            if not os.path.exists(os.path.join(folder, _MARKER)):
                shutil.rmtree(folder, ignore_errors=True)
                self._make(folder, python, asked, deadline, logs, lock)
            os.utime(f"{folder}.lock")
            fcntl.flock(lock, fcntl.LOCK_SH)
        except BaseException:
            if not os.path.exists(os.path.join(folder, _MARKER)):
                shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
            raise
        with self._lock:
            earlier = self._leases.get(folder)
            self._leases[folder] = lock
        if earlier is not None:
            os.close(earlier)
        return python

    def _lock_in_time(self, path: str, deadline: float) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Whoever uses it holds it too; then it is whole, and need not be ours alone.
                if os.path.exists(os.path.join(path.removesuffix(".lock"), _MARKER)):
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                        return fd
            else:
                return fd
            if self._closed or time.monotonic() > deadline:
                os.close(fd)
                self._give_up(f"waiting for another process that makes {path}")
            time.sleep(0.02)

    def _give_up(self, doing: str) -> None:
        if self._closed:
            raise Cancelled
        raise RuntimeEnvSetupError(
            f"setup_timeout_seconds is over, {doing}; "
            'allow more with runtime_env={"config": {"setup_timeout_seconds": ...}}'
        )

    def _make(
        self,
        folder: str,
        python: str,
        asked: Mapping[str, Any],
        deadline: float,
        logs: Sequence[str],
        lock: int,
    ) -> None:
        uv = _uv()

        def run(*arguments: str) -> None:
            self._run([uv, *arguments], asked["packages"], deadline, logs, lock)

        run("venv", "--quiet", "--no-project", "--python", sys.executable, folder)
        install = ("pip", "install", "--python", python)
        tool = asked.get("pip_version") or asked.get("uv_version")
        if tool:
            name = "pip" if asked.get("pip_version") else "uv"
            run(*install, name + (tool if not tool[0].isdigit() else f"=={tool}"))
            if name == "uv":
                uv = os.path.join(folder, "bin", "uv")
        options = [*asked.get("pip_install_options", ()), *asked.get("uv_pip_install_options", ())]
        requirements = os.path.join(folder, "requirements.txt")
        with open(requirements, "w") as file:
            file.write("\n".join(asked["packages"]) + "\n")
        run(*install, *options, "-r", requirements)
        if asked.get("pip_check") or asked.get("uv_check"):
            run("pip", "check", "--python", python)
        with open(os.path.join(folder, _MARKER), "w") as file:
            file.flush()
            os.fsync(file.fileno())

    def _run(
        self,
        command: list[str],
        packages: Sequence[str],
        deadline: float,
        logs: Sequence[str],
        lock: int,
    ) -> None:
        with self._lock:
            if self._closed:
                raise Cancelled
            process = subprocess.Popen(
                [sys.executable, "-IS", "-c", _DIES_WITH_US, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                pass_fds=(lock,),  # nobody takes the directory over while uv writes into it
            )
            self._running.add(process)
        try:
            limit = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
            output = process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            self._give_up(f"while uv installed {', '.join(packages)}")
            return
        finally:
            with self._lock:
                self._running.discard(process)
        for path in logs:
            with open(path, "a") as file:
                file.write(output)
        if self._closed:
            raise Cancelled
        if process.returncode:
            text = "\n".join(output.strip().splitlines()[-_LAST_LINES:])
            raise RuntimeEnvSetupError(
                f"uv could not install {', '.join(packages)} (exit code {process.returncode}):\n"
                f"{text}"
            )

    def close(self) -> None:
        """End what runs, let go of what is used, and remove what nobody has used for long."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)
            leases, self._leases = self._leases, {}
        for fd in leases.values():
            os.close(fd)
        if leases:
            with contextlib.suppress(OSError):
                _remove_unused(cache_dir.below("venvs"))


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _remove_unused(venvs: str) -> None:
    for name in os.listdir(venvs):
        path = os.path.join(venvs, name)
        if not name.endswith(".lock") or time.time() - os.stat(path).st_mtime < _KEPT_S:
            continue
        with contextlib.suppress(BlockingIOError), cache_dir.locked(path, wait=False):
            # The lock itself stays: somebody may be about to take it.
            shutil.rmtree(path.removesuffix(".lock"), ignore_errors=True)


def _uv() -> str:
    """Where uv is.

    Raises:
        RuntimeEnvSetupError: If it is nowhere.
    """
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    if os.access(beside, os.X_OK):
        return beside
    if importlib.util.find_spec("uv") is not None:
        module = importlib.import_module("uv")
        with contextlib.suppress(FileNotFoundError):
            return str(module.find_uv_bin())
    found = shutil.which("uv")
    if found is None:
        raise RuntimeEnvSetupError(
            'runtime_env with "pip" or "uv" needs uv, which makes the environment; install it '
            "with `pip install uv`"
        )
    return found


def _key(asked: Mapping[str, Any]) -> str:
    """What makes two environments the same: interpreter, packages, and the files among them."""
    files = {
        word: _stamp(word)
        for package in asked["packages"]
        for word in package.split()
        if os.path.isabs(word) and os.path.exists(word)
    }
    identity = [os.path.realpath(sys.executable), sys.prefix, sys.version, dict(asked), files]
    text = json.dumps(identity, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _stamp(path: str) -> list[Any]:
    """What changes when a file, or anything in a directory, changes."""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            return [hashlib.file_digest(file, "sha256").hexdigest()]
    found = []
    for folder, _, names in sorted(os.walk(path)):
        for name in sorted(names):
            stat = os.stat(os.path.join(folder, name), follow_symlinks=False)
            found.append([os.path.join(folder, name), stat.st_size, stat.st_mtime_ns])
    return found
