"""`heliostat serve run`, looked after by Ray's own Serve: what a RayService of KubeRay starts.

Ray's Serve gets one deployment of one replica, and no HTTP: the replica starts the program that runs
everywhere else, and says whether it is healthy. Requests never pass through Ray's Serve.
"""

from __future__ import annotations

import collections
import contextlib
import os
import subprocess
import sys
import threading
from typing import Any
from urllib.request import urlopen

from heliostat._engines.ray import theirs

_LOOK_S = 0.2
_LAST_WORDS = 30  # lines of what the program said, for an error
_PATIENCE_S = 55.0  # for the program to end
_MORE_S = 20.0  # for what it may leave
_SHUT_DOWN = "import heliostat; from heliostat import serve; heliostat.init(); serve.shutdown()"


def application(arguments: dict[str, Any]) -> Any:
    """What Ray's Serve is to run: its builder of applications.

    Args:
        arguments: "command", those of `heliostat`; "port", where it listens; "folder", where it runs.
    """
    deployment = theirs.module("serve").deployment(
        Driver,
        name="heliostat",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=_PATIENCE_S + _MORE_S + 5,
    )
    return deployment.bind(arguments["command"], arguments["port"], arguments["folder"])


class Driver:
    """A driver of ours as a replica of Ray's Serve; it ends with the replica, however that ends."""

    def __init__(self, command: list[str], port: int, folder: str) -> None:
        cluster = theirs.ray().get_runtime_context().gcs_address
        self._env = {**os.environ, "HELIOSTAT_ADDRESS": "auto", "RAY_ADDRESS": cluster}
        self._said: collections.deque[str] = collections.deque(maxlen=_LAST_WORDS)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "heliostat.cli._ray_service", *command],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=self._env,
        )
        self._passing = threading.Thread(target=self._pass_on, daemon=True)
        self._passing.start()
        while not _healthy(port):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_S)
            self.check_health()

    def _pass_on(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said.append(line)
            sys.stderr.write(line)

    def check_health(self) -> None:
        """Raise if the program has ended; Ray's Serve asks, and starts it again.

        Raises:
            RuntimeError: With the last of what it said.
        """
        if (code := self._process.poll()) is not None:
            self._passing.join()
            raise RuntimeError(f"the program ended with {code}; it said:\n{''.join(self._said)}")

    def __del__(self) -> None:
        """End it as Kubernetes would: requests that run are finished, and Serve ends with it."""
        if self._process.poll() is not None:  # by itself: the next one finds Serve
            return
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        # If it had not come so far as to join it, Serve of the program before goes on.
        words = [sys.executable, "-c", _SHUT_DOWN]
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(words, env=self._env, timeout=_MORE_S, check=False)


def _healthy(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/-/healthz", timeout=2):
            return True
    except OSError:
        return False


def _end_with_the_replica() -> None:
    """Its standard input ends with it, also when it is killed; Serve goes on for the next one."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    from heliostat.cli import main

    threading.Thread(target=_end_with_the_replica, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
