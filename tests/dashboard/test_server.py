"""What the server lets through, method by method and route by route, and what it sends along."""

import base64
import hashlib
import http.client
import re
import socket
from pathlib import Path

import pytest

from heliostat import dashboard as package
from heliostat.dashboard._bundle import LIBRARY, SCRIPTS, STYLES, bundle
from heliostat.dashboard._server import LICENCE, Server, as_json
from heliostat.dashboard._session import PAGES, TABLES

ROUTES = (
    "/", f"/{LICENCE}", "/metrics", "/api", "/api/trace", "/api/log?name=x", "/nothing", "/../etc/passwd",
    *(f"/api/page/{name}" for name in (*PAGES, "session", "series", "logs")),
    *(f"/api/table/{kind}" for kind in TABLES),
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "ODD")
SOURCES = Path(package.__file__).parent / "static"


def refused(visitor, method, path, **headers):
    return visitor.ask(path, method, **headers).status == 403


@pytest.mark.parametrize("path", ROUTES)
def test_every_method_and_route_is_refused_without_the_secret_or_from_elsewhere(visitor, path):
    for method in METHODS:
        assert refused(visitor, method, path, token="wrong")
        assert refused(visitor, method, path, Authorization="")
        assert refused(visitor, method, path, Host="evil.example")
        assert refused(visitor, method, path, Origin="http://evil.example")


def test_with_the_secret_there_is_nothing_but_get_and_head(visitor):
    for method in METHODS[2:]:
        assert visitor.ask("/", method).status == 405


def test_head_has_the_headers_of_get_and_no_body(visitor):
    head, get = visitor.ask("/", "HEAD"), visitor.ask("/")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.body))


def test_the_link_gives_a_cookie_and_leads_to_an_address_without_the_secret(visitor):
    reply = visitor.ask(f"/?token={visitor.token}", Authorization="")
    assert (reply.status, reply.headers["Location"]) == (303, "/")
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    again = visitor.ask("/", Authorization="", Cookie=cookie.partition(";")[0])
    assert again.status == 200
    assert visitor.token.encode() not in again.body


def test_every_answer_forbids_foreign_scripts_frames_and_guesses(visitor):
    for path in ("/", "/api/page/session", "/nothing"):
        headers = visitor.ask(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_no_request_names_a_file_that_is_no_page(visitor):
    for path in ("/../_server.py", "/%2e%2e/_server.py", "/pages/../../_server.py", "//etc/passwd"):
        assert visitor.ask(path).status == 404


def test_the_pages_are_one_document_that_lets_only_its_own_script_run(visitor):
    reply = visitor.ask("/")
    body = reply.body.decode()
    assert not re.search(r'(?:href|src)="(?!data:)', body)
    inside = re.search(r'<script type="module">(.*?)</script>', body, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    policy = reply.headers["Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}';" in policy
    assert "connect-src 'self'" in policy
    assert visitor.ask(f"/{LICENCE}").status == 200


def test_every_file_of_the_pages_is_in_the_document():
    there = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*")
        if path.suffix in (".js", ".css")
    }
    assert there == {LIBRARY, *STYLES, *SCRIPTS}


def test_facts_of_a_report_cannot_end_the_element_that_they_are_in():
    made = bundle("<title>", {"name": "</script><script>alert(1)</script>", "value": float("nan")})
    assert made.text.count("</script>") == 2
    assert "<title>&lt;title&gt;</title>" in made.text
    assert made.policy in made.text


def test_a_question_that_makes_no_sense_is_answered_with_what_is_wrong(visitor):
    reply = visitor.ask("/api/table/ended_tasks?start=-1")
    assert reply.status == 400
    assert "whole number" in reply.json["error"]
    reply = visitor.ask("/api/table/ended_tasks?sort=1;drop")
    assert reply.status == 400
    assert "no column" in reply.json["error"]
    assert visitor.ask("/api/log?name=../x").status == 400


def test_a_body_ends_the_connection_and_is_not_read(visitor):
    host, _, port = visitor.origin.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("POST", "/", body=b"GET / HTTP/1.1\r\n\r\n")
    answer = connection.getresponse()
    assert answer.status == 403
    answer.read()
    assert connection.sock is None or connection.sock.recv(1) == b""
    connection.close()


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"dashboard_port={port}"):
            Server(port, "secret", lambda path, query: None)


def test_an_error_of_a_page_is_an_answer(state_dir):
    def broken(path, query):
        raise RuntimeError("no luck")

    from tests.dashboard.conftest import Visitor

    server = Server(None, "secret", broken)
    try:
        reply = Visitor(server.url).ask("/api/x")
    finally:
        server.close()
    assert reply.status == 500
    assert reply.json == {"error": "RuntimeError: no luck"}


def test_what_json_has_no_form_for_is_no_broken_page():
    answer = as_json({"a": [float("nan"), float("inf"), 1.5], 2: {1}})
    assert answer.body == b'{"a": [null, null, 1.5], "2": "{1}"}'


def test_no_page_makes_html_of_text():
    for path in SOURCES.rglob("*.js"):
        if path.parent.name != "vendor":
            text = path.read_text()
            for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
                assert way not in text, (path, way)
            assert len(text.splitlines()) <= 600


def test_no_page_loads_anything_from_elsewhere():
    for path in SOURCES.rglob("*"):
        if path.is_file() and path.parent.name != "vendor":
            for url in re.findall(r"https?://[\w.]+", path.read_text()):
                assert url == "http://www.w3.org", (path, url)
