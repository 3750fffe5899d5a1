"""Measures: families are made once, and what clients invent is no tag."""

from __future__ import annotations

import heliostat as ray
from heliostat.serve._measures import _of_http, http_answered, replica_answered
from heliostat.util.metrics import exposition


def test_methods_that_clients_invent_share_one_series():
    before = _of_http.cache_info().currsize
    for number in range(20):
        http_answered("/", f"INVENTED{number}", "measured", 405, 0.01)
    assert _of_http.cache_info().currsize == before + 1


def test_errors_are_counted_beside_requests():
    with ray.init(engine="inline"):
        for failed in (False, True):
            replica_answered(("D", "D#1", "measured"), "/", 0.004, failed=failed)
        shown = exposition().splitlines()
    of_mine = [line for line in shown if 'application="measured"' in line and "_total" in line]
    assert [line.rsplit(" ", 1)[1] for line in of_mine if "deployment" in line] == ["1.0", "2.0"]
