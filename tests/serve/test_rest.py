"""The REST interface: who may ask, and what a wrong config changes. With processes: tests/cli."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.testclient import TestClient

from heliostat.serve._rest import Deployments, application, new_token, served, token_file
from heliostat.serve.exceptions import PortTakenError
from tests.serve.conftest import free_port

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as _runner:
    _runner.run(asyncio.sleep(0))  # uvloop's first loop makes a pipe that stays with the process

PATH = "/api/serve/applications/"


@pytest.fixture
def ended() -> list[int]:
    return []


@pytest.fixture
def client(ended: list[int]) -> TestClient:
    app = application(Deployments(), "secret", lambda: ended.append(1))
    headers = {"authorization": "Bearer secret"}
    return TestClient(app, base_url="http://127.0.0.1:8265", headers=headers)


def test_only_programs_of_this_user_may_ask(client: TestClient):
    assert client.get(PATH).status_code == 200
    for headers, code in [
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": ""}, 401),
        ({"host": "evil.example"}, 403),
        ({"origin": "http://127.0.0.1:8265"}, 403),
    ]:
        for method in ("GET", "PUT", "DELETE"):
            assert client.request(method, PATH, headers=headers).status_code == code


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{not json", "Expecting"),
        (b"[]", "must be a mapping"),
        (b'{"applications": [{"import_path": "no_such_module:app"}]}', "no module"),
    ],
)
def test_a_wrong_config_is_400_and_says_why(client: TestClient, body: bytes, words: str):
    answer = client.put(PATH, content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_a_taken_port_is_named_and_the_token_of_who_has_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    port = free_port()
    with served(Deployments(), port, lambda: None):
        token = token_file(port).read_text()
        with (
            pytest.raises(PortTakenError, match=rf"port {port} .*taken by .*another .*--rest-port"),
            served(Deployments(), port, lambda: None),
        ):
            pass
        assert token_file(port).read_text() == token
    assert not token_file(port).exists()


def test_without_serve_there_is_nothing_and_delete_ends_it(client: TestClient, ended: list[int]):
    details: Any = client.get(PATH).json()
    assert details["applications"] == {}
    assert client.delete(PATH).status_code == 200
    assert ended == [1]


def test_the_token_is_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    tokens = {new_token(1), new_token(1)}
    assert len(tokens) == 2
    assert token_file(1).read_text() in tokens
    assert stat.S_IMODE(token_file(1).stat().st_mode) == 0o600


SCALE = "/api/v1/applications/default/deployments/D/scale"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"{not json", 400, "Expecting"),
        (b"[]", 400, "target_num_replicas must be an int, got None"),
        (b'{"target_num_replicas": -1}', 400, "must be >= 0"),
        (b'{"target_num_replicas": 2}', 404, "Serve is not running"),
    ],
)
def test_scaling_what_is_not_there_or_to_what_is_no_number_is_told(
    client: TestClient, body: bytes, code: int, words: str
):
    answer = client.post(SCALE, content=body)
    assert answer.status_code == code
    assert words in answer.json()["error"]
    assert client.post(SCALE, headers={"authorization": ""}).status_code == 401
    assert client.get(SCALE).status_code == 405
