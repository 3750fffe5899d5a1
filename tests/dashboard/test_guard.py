"""Whoever has no secret, or comes from elsewhere, is refused, whatever is asked for."""

import pytest

from heliostat.dashboard._guard import Door, judge

DOOR = Door(8265, "secret")
HOST = {"Host": "127.0.0.1:8265"}
BEARER = {"Authorization": "Bearer secret"}


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_loopback_by_any_name_is_let_in(name):
    assert judge(DOOR, "/", {"host": f"{name}:8265", **BEARER}).entry == "known"


@pytest.mark.parametrize(
    "host", ["evil.example:8265", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil.example:8265", ""]
)
def test_another_host_is_refused_even_with_the_secret(host):
    assert judge(DOOR, "/?token=secret", {"Host": host, **BEARER}).entry == "refused"


def test_no_host_is_refused():
    assert judge(DOOR, "/", BEARER).entry == "refused"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8265"])
def test_another_origin_is_refused_even_with_the_secret(origin):
    assert judge(DOOR, "/", {**HOST, **BEARER, "Origin": origin}).entry == "refused"


def test_its_own_origin_is_let_in():
    assert judge(DOOR, "/", {**HOST, **BEARER, "Origin": "http://127.0.0.1:8265"}).entry == "known"


def test_another_sites_fetch_is_refused_and_its_link_with_the_secret_is_not():
    cross = {**HOST, "Sec-Fetch-Site": "cross-site"}
    assert judge(DOOR, "/api", {**cross, **BEARER}).entry == "refused"
    link = {**cross, "Sec-Fetch-Mode": "navigate"}
    assert judge(DOOR, "/?token=secret", link).entry == "by link"
    assert judge(DOOR, "/", {**link, "Cookie": "heliostat-8265=secret"}).entry == "refused"


def test_the_cookie_of_its_own_port_is_a_secret():
    assert judge(DOOR, "/", {**HOST, "Cookie": "a=b; heliostat-8265=secret"}).entry == "known"
    assert judge(DOOR, "/", {**HOST, "Cookie": "heliostat-8266=secret"}).entry == "refused"
    assert judge(DOOR, "/", {**HOST, "Cookie": "heliostat-8265=x; (("}).entry == "refused"


@pytest.mark.parametrize(
    "target", ["/", "/?token=", "/?token=wrong", "/?token=secre", "/?tok=secret"]
)
def test_a_wrong_secret_is_refused(target):
    assert judge(DOOR, target, HOST).entry == "refused"


def test_an_empty_bearer_is_no_secret():
    assert judge(Door(1, "x"), "/", {"Host": "localhost:1", "Authorization": ""}).entry == "refused"
