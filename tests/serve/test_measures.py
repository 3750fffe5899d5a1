"""Measures: families are made once, and what clients invent is no tag."""

from __future__ import annotations

import asyncio
import time

import heliostat as ray
from heliostat.serve._measures import _of_http, http_answered, replica_answered, tell_now
from heliostat.util.metrics import exposition


def test_methods_that_clients_invent_share_one_series():
    before = _of_http.cache_info().currsize
    for number in range(20):
        http_answered("/", f"INVENTED{number}", "measured", 405, time.monotonic() - 0.01)
    assert _of_http.cache_info().currsize == before + 1


def test_errors_are_counted_beside_requests():
    with ray.init(engine="inline"):
        for failed in (False, True):
            replica_answered(("D", "D#1", "measured"), "/", time.monotonic() - 0.004, failed=failed)
        shown = exposition().splitlines()
    of_mine = [line for line in shown if 'application="measured"' in line and "_total" in line]
    assert [line.rsplit(" ", 1)[1] for line in of_mine if "deployment" in line] == ["1.0", "2.0"]


def test_many_answers_are_told_together_and_none_is_lost():
    async def go() -> None:
        for _ in range(50):
            http_answered("/many", "GET", "measured", 200, time.monotonic())
        told = asyncio.Event()  # a loop that goes on tells what is left
        asyncio.get_running_loop().call_later(0.15, told.set)
        await told.wait()

    with ray.init(engine="inline"):
        asyncio.run(go())
        http_answered("/many", "GET", "measured", 404, time.monotonic())
        tell_now()
        shown = exposition()
    assert (
        'ray_serve_num_http_requests_total{application="measured",method="GET",route="/many",status_code="200"} 50.0'
        in shown
    )
    assert (
        'ray_serve_num_http_error_requests_total{application="measured",error_code="404",method="GET",route="/many"} 1.0'
        in shown
    )
    assert (
        'ray_serve_http_request_latency_ms_count{application="measured",method="GET",route="/many",status_code="200"} 50.0'
        in shown
    )
