"""Sessions in the words of Ray Client."""

import pytest

import heliostat as ray
from heliostat.client_builder import ClientBuilder, as_url
from heliostat.util import connect, disconnect


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    ray.shutdown()
    monkeypatch.setenv("HELIOSTAT_ENGINE", "inline")
    yield
    ray.shutdown()


def test_without_an_address_the_session_is_this_machine_s():
    with ray.client().namespace("mine").env({"env_vars": {"A": "1"}}).connect() as context:
        assert ray.get_runtime_context().namespace == "mine"
        assert context.ray_version == ray.__version__
        assert context.dashboard_url is None
    assert not ray.is_initialized()


def test_a_second_session_is_refused():
    ray.client("local").connect()
    with pytest.raises(RuntimeError, match="twice"):
        ray.client().connect()


def test_an_address_is_a_cluster_s(monkeypatch):
    monkeypatch.delenv("HELIOSTAT_ENGINE")
    for begin in (ClientBuilder("127.0.0.1:9").connect, lambda: connect("127.0.0.1:9")):
        with pytest.raises((ConnectionError, ImportError), match="Ray"):
            begin()
    assert as_url("head:10001") == as_url("ray://head:10001") == "ray://head:10001"


@pytest.mark.parametrize("name", ["secure", "metadata", "ignore_version"])
def test_what_no_session_here_has_is_refused_by_name(name):
    with pytest.raises(NotImplementedError, match=name):
        connect("head:10001", **{name: True})


def test_disconnecting_ends_the_session_there_is():
    ray.init()
    disconnect()
    assert not ray.is_initialized()
    disconnect()
