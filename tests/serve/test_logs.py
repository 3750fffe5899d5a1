"""Logs: a config is carried out in this process, and a request has its line."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request

from heliostat import serve
from heliostat.serve import _logs
from heliostat.serve._specs import ApplicationSpec, DeploymentSpec
from heliostat.serve.context import RequestContext, serving
from heliostat.serve.schema import LoggingConfig

FIELDS = {"application": "a", "deployment": "D", "replica": "a#D#1", "component_name": "replica"}
LOG = logging.getLogger("ray.serve")


@pytest.fixture(scope="module", autouse=True)
def access_as_it_begins() -> None:
    """Tests of whole applications may have asked for it in this process."""
    logging.getLogger("heliostat.serve.access").disabled = True


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Gives what went to standard error since the last time; the loggers are as before afterwards."""
    loggers = [logging.getLogger(name) for name in _logs.LOGGERS]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    yield lambda: capsys.readouterr().err
    _logs.install(None, FIELDS)  # closes files
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


def test_unless_asked_there_is_no_line_a_request_but_what_users_log(written: Callable[[], str]):
    _logs.install(None, FIELDS)
    assert not _logs.is_access_logged()
    LOG.info("of the user's")
    LOG.debug("too much")
    said = written()
    assert said.endswith(" a#D#1 -- of the user's\n")
    assert "too much" not in said


def test_lines_of_text_have_the_request_and_the_attributes_that_were_asked_for(
    written: Callable[[], str],
):
    _logs.install(LoggingConfig(additional_log_standard_attrs=["name"]), FIELDS)
    with serving(RequestContext("/r", "id-1", "a")):
        LOG.warning("hello %s", "you")
    said = written()
    assert said.startswith("WARNING ")
    assert said.endswith(" a#D#1 id-1 ray.serve -- hello you\n")


def test_lines_of_json_have_where_they_come_from_and_errors(written: Callable[[], str]):
    _logs.install(LoggingConfig(encoding="JSON", log_level="ERROR"), FIELDS)
    LOG.warning("too little")
    with serving(RequestContext("/r", "id-1", "a")):
        try:
            raise KeyError("lost")
        except KeyError:
            LOG.exception("it failed")
    line = json.loads(written())
    assert line.items() >= {**FIELDS, "request_id": "id-1", "route": "/r"}.items()
    assert (line["levelname"], line["message"]) == ("ERROR", "it failed")
    assert "KeyError: 'lost'" in line["exc_text"]


def test_another_config_takes_the_place_of_the_first(written: Callable[[], str], tmp_path: Path):
    _logs.install(LoggingConfig(logs_dir=str(tmp_path / "new")), FIELDS)
    _logs.answered("GET /%0a", 200, time.monotonic(), RequestContext("/", "id-2", "a"))
    _logs.install(LoggingConfig(enable_access_log=False), FIELDS)
    assert not _logs.is_access_logged()
    LOG.info("once")
    assert written().count("once") == 1
    (file,) = (tmp_path / "new").iterdir()
    assert file.name == "replica_a_D_1.log"
    assert " a#D#1 id-2 -- GET /%0a 200 " in file.read_text()


def test_requests_of_a_deployment_are_logged_as_it_was_told(
    client: httpx.Client, tmp_path: Path, until: Callable[..., None]
):
    @serve.deployment(logging_config={"encoding": "JSON", "logs_dir": str(tmp_path)})
    class Logged:
        def __call__(self, request: Request) -> int:
            logging.getLogger("ray.serve").info("in the user's code")
            return len(request.query_params["n"])

        def one(self) -> int:
            return 1

    handle = serve.run(Logged.bind(), name="logged", route_prefix="/l")
    assert client.get("/l/a%0ab", params={"n": 1}, headers={"x-request-id": "me"}).text == "1"
    assert client.get("/l").status_code == 500
    assert handle.one.remote().result() == 1

    def lines() -> list[dict[str, str]]:
        files = tmp_path.iterdir()
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def said(start: str) -> list[dict[str, str]]:
        return [line for line in lines() if line["message"].startswith(start)]

    until(lambda: said("CALL one OK "))
    (got,) = said("GET /l/a%0ab 200 ")
    for line in (said("in the user's")[0], got):
        assert (line["request_id"], line["route"], line["application"]) == ("me", "/l", "logged")
    assert said("GET /l 500 ")


def test_what_all_of_serve_logs_is_for_deployments_that_say_nothing():
    own, all_ = LoggingConfig(log_level="ERROR"), LoggingConfig(encoding="JSON")
    configs = [serve.deployment(logging_config=c)(type("D", (), {})).config for c in (own, None)]
    spec = ApplicationSpec("a", None, [DeploymentSpec("D", c, "1", []) for c in configs])
    told = [deployment.config.logging_config for deployment in spec.with_logging(all_).deployments]
    assert told == [own, all_]
    assert spec.with_logging(None) is spec
