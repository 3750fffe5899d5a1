"""Faults to order: workers die, stop, raise and dawdle, as often as a test says.

`heliostat.init(faults=["kill:task:0.1"], fault_seed=7)` arms all workers of the session. A fault is
an action, a place, and how often:

```text
kill     SIGKILL                       task     before a task, with its arguments not read yet
segv     SIGSEGV                       call     before a call of an actor
stop     SIGSTOP                       code     before the user's code; kill, segv and stop strike
exit     os._exit(1)                            some milliseconds into it
raise    RuntimeError                  result   before the outcome is written
delay    50 ms; delay=0.2: 200 ms      write    when memory for a large value is reserved
```

How often is a probability, `0.1`, or `#3`: the third time in each worker process. The same seed
draws the same numbers in the same worker. Constructors of actors are left alone.
"""

from __future__ import annotations

from heliostat._core.fault_plan import ACTIONS, PLACES

__all__ = ["ACTIONS", "PLACES"]
