"""What user code can ask about where it runs."""

from __future__ import annotations

import pytest

from heliostat.serve.context import (
    RequestContext,
    current_request,
    get_replica_context,
    serving,
)


def test_the_request_is_known_only_while_it_is_served():
    assert current_request() == RequestContext()
    with serving(RequestContext("/a", "id", "app")):
        assert current_request().request_id == "id"
        with serving(RequestContext("/b", "other", "app")):
            assert current_request().route == "/b"
        assert current_request().route == "/a"
    assert current_request() == RequestContext()


def test_outside_a_replica_there_is_no_replica_context():
    with pytest.raises(RuntimeError, match="only in a deployment's code"):
        get_replica_context()
