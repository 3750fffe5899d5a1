"""Who reads when nobody waits keeps out of the way of those who do, and is there when they leave."""

import threading
import time

import pytest

import heliostat as ray
from heliostat._engines.local.transport.waiting import LONG_LEAD_S, Lead, Waiter


@pytest.fixture
def session():
    ray.init(num_cpus=2)
    yield
    ray.shutdown()


def times_awake() -> int:
    """How often the thread that reads when nobody waits has been awake."""
    (hub,) = [thread for thread in threading.enumerate() if thread.name == "heliostat-hub"]
    with open(f"/proc/self/task/{hub.native_id}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["voluntary_ctxt_switches"])


def test_it_sleeps_while_somebody_waits_for_long(session):
    @ray.remote
    def slow() -> None:
        time.sleep(2)

    ref = slow.remote()
    before, began = times_awake(), time.monotonic()
    ray.get(ref)
    assert times_awake() - before < 50 * (time.monotonic() - began)


@pytest.mark.parametrize(("seconds", "times"), [(0.0, 0), (2 * LONG_LEAD_S, 1)])
def test_the_end_of_a_lead_is_told_if_it_was_long(seconds, times):
    told: list[None] = []
    waiter = Waiter(missing=1)

    def read(timeout_s: float | None, ready: object) -> None:
        time.sleep(seconds)
        waiter.missing = 0

    lead = Lead(read, list)
    lead.on_left = lambda: told.append(None)
    assert lead.wait(waiter, None)
    assert len(told) == times
