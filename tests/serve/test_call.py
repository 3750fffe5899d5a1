"""Call: a future that is made only when somebody waits."""

from __future__ import annotations

from heliostat.serve._call import Call
from heliostat.serve.context import RequestContext


def test_who_waits_is_woken_by_the_beginning_and_who_comes_later_need_not_wait():
    call = Call("m", RequestContext(), (), {})
    early = call.ready()
    assert not early.done()
    call.begin("reference", None)
    assert early.done()
    assert call.ready().done()


def test_cancelling_before_it_was_sent_is_remembered():
    call = Call("m", RequestContext(), (), {})
    call.cancel()
    assert call.is_cancelled
