"""One session for all that only looks, with its history in a folder of the test's."""

import json
import urllib.error
import urllib.request
from typing import NamedTuple

import pytest

import heliostat as ray


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self):
        return json.loads(self.body)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Visitor:
    """Asks a dashboard, as a program that knows the secret."""

    def __init__(self, url: str) -> None:
        self.origin, _, self.token = url.partition("/?token=")
        self._opener = urllib.request.build_opener(NoRedirect)

    def ask(self, path, method="GET", token=None, **headers):
        own = {"Authorization": f"Bearer {self.token if token is None else token}"}
        request = urllib.request.Request(f"{self.origin}{path}", method=method)
        for name, value in {**own, **headers}.items():
            if value:
                request.add_header(name.replace("_", "-"), value)
        try:
            with self._opener.open(request, timeout=30) as answer:
                return Reply(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read(), dict(error.headers))

    def page(self, name):
        return self.ask(f"/api/page/{name}").json["is"]

    def table(self, kind, query=""):
        return self.ask(f"/api/table/{kind}?{query}").json["is"]


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("HELIOSTAT_STATE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def visitor(state_dir):
    ray.shutdown()
    with ray.init(num_cpus=2, include_dashboard=True) as context:
        yield Visitor(f"http://{context.dashboard_url}")
