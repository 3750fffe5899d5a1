"""Threads that read when nobody waits, and send what was kept back."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

from heliostat._engines.local.transport.waiting import Lead

CALM_S = 0.005  # how long it waits after others have read, before it reads itself
_CALM_MOST_S = 0.05
KEPT_S = 0.0003  # how long messages to a busy worker are kept back to be sent together


class Attendant:
    """Sleeps in the poll while nobody else reads; costs nothing then.

    Args:
        lead: Who reads.
        wake: An eventfd that the poll watches.
        urgent: Whether there is something to do that no file descriptor tells.
        send_kept: Sends what was kept back.
    """

    def __init__(
        self, lead: Lead, wake: int, urgent: Callable[[], bool], send_kept: Callable[[], None]
    ) -> None:
        self.asleep = False
        self.ident: int | None = None  # of its thread
        self._lead = lead
        self._wake = wake
        self._urgent = urgent
        self._send_kept = send_kept
        self._kept = False
        self._calm = threading.Event()
        lead.on_left = self._calm.set
        self._ended = False
        self._thread = threading.Thread(target=self._attend, name="heliostat-hub", daemon=True)

    def start(self) -> None:
        """Begin, once everything that it touches is there."""
        self._thread.start()
        self.ident = self._thread.ident

    def keep(self) -> None:
        """Something was kept back: see to it soon."""
        if not self._kept:
            self._kept = True
            self.stir()

    def stir(self) -> None:
        """Have what is deferred seen to soon, by whoever reads."""
        if self._lead.taken():
            self.kick()
        else:
            self._calm.set()

    def rouse(self) -> None:
        """Wake it if it sleeps; safe in finalisers."""
        if self.asleep:
            self.asleep = False
            self.kick()

    def kick(self) -> None:
        """End the poll of whoever reads."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    def woken(self) -> None:
        """Take the kick from the eventfd."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _attend(self) -> None:
        pause_s = CALM_S
        while not self._ended:
            self._calm.clear()
            if self._kept:
                # Whoever makes the calls may be making more: let them go together.
                time.sleep(KEPT_S)
                self._kept = False
                self._send_kept()
            if self._lead.used or self._lead.has_followers():
                # Others read; stay out of their way, for they are faster without us.
                self._lead.used = False
                self._lead.hand_over()
            else:
                self.asleep = not self._urgent()
                read = self._lead.try_read(None if self.asleep else 0.0)
                self.asleep = False
                if read:
                    pause_s = CALM_S
                    continue
            pause_s = CALM_S if self._calm.wait(pause_s) else min(_CALM_MOST_S, pause_s * 2)

    def end(self) -> None:
        """Stop, and wait until it has stopped."""
        self._ended = True
        self._calm.set()
        self.kick()
        if threading.get_ident() != self.ident:
            self._thread.join()


class Keeper:
    """In a worker: sends what was kept back, if nobody else does within a moment.

    Its thread starts when it is first needed.

    Args:
        send_kept: Sends it.
    """

    def __init__(self, send_kept: Callable[[], None]) -> None:
        self._send_kept = send_kept
        self._kept = False
        self._asked = threading.Event()
        self._started = False

    def keep(self) -> None:
        """Something was kept back: see to it soon."""
        if self._kept:
            return
        self._kept = True
        self._asked.set()
        if not self._started:
            self._started = True
            threading.Thread(target=self._attend, name="heliostat-keeper", daemon=True).start()

    def _attend(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            time.sleep(KEPT_S)
            self._kept = False
            self._send_kept()
