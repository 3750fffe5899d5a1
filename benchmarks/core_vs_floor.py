"""How far is Core from what the machine allows? A task beside a round trip, a put beside memcpy.

The floor is measured in the same run, in turns: pickled messages over an unpinned Unix socket to a
forked process, and copies between two warm arrays.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import sys
import time
from collections.abc import Callable

import numpy as np

import heliostat as ray
from benchmarks.ratios import Row, show

ROUNDS = 5
CALLS = 2000
_LENGTH = struct.Struct("<I")


def send(sock: socket.socket, value: object) -> None:
    """One pickled value."""
    data = pickle.dumps(value, 5)
    sock.sendall(_LENGTH.pack(len(data)) + data)


def receive(sock: socket.socket) -> object:
    """The next value; EOFError at the end."""
    head = sock.recv(4, socket.MSG_WAITALL)
    if not head:
        raise EOFError
    return pickle.loads(sock.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL))


def echo() -> socket.socket:
    """A process that sends back what it gets, and ends with the socket."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        try:
            while True:
                send(theirs, receive(theirs))
        finally:
            os._exit(0)
    theirs.close()
    return ours


def per_second(count: float, work: Callable[[], object]) -> float:
    """So many of them in the time that the work takes."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


@ray.remote
def nothing() -> None:
    """A task."""


@ray.remote
class Echo:
    """An actor."""

    def same(self, value: object = None) -> object:
        """The value."""
        return value

    def drive(self, other: ray.actor.ActorHandle, count: int) -> float:
        """Calls of another actor per second, one at a time."""
        return per_second(count, lambda: [ray.get(other.same.remote()) for _ in range(count)])


def main() -> int:
    """Print the table; 0 whatever the ratios are."""
    sock = echo()  # before there are threads
    ray.init(num_cpus=2)
    actor, other = Echo.remote(), Echo.remote()
    ray.get([nothing.remote() for _ in range(200)])
    ray.get([actor.drive.remote(other, 50), other.same.remote()])
    big, room = np.ones(100_000_000, np.uint8), np.ones(100_000_000, np.uint8)
    ray.put(big)
    floor, task, call, between, copy, put = ([] for _ in range(6))
    for _ in range(ROUNDS):
        floor.append(
            per_second(CALLS, lambda: [(send(sock, 1), receive(sock)) for _ in range(CALLS)])
        )
        task.append(per_second(CALLS, lambda: [ray.get(nothing.remote()) for _ in range(CALLS)]))
        call.append(per_second(CALLS, lambda: [ray.get(actor.same.remote()) for _ in range(CALLS)]))
        between.append(ray.get(actor.drive.remote(other, CALLS)))
        copy.append(per_second(0.1, lambda: np.copyto(room, big)))
        put.append(per_second(0.1, lambda: ray.put(big)))
    ray.shutdown()
    sock.close()
    os.wait()
    show(
        [
            Row("tasks, one at a time", "/s", "more", tuple(task), tuple(floor), 1 / 2.2),
            Row("actor calls, one at a time", "/s", "more", tuple(call), tuple(floor)),
            Row("actor to actor, one at a time", "/s", "more", tuple(between), tuple(floor)),
            Row("put 100 MB, recycled memory", "GB/s", "more", tuple(put), tuple(copy)),
        ],
        "floor",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
