"""What a FastAPI ingress says of itself holds, for requests that fit its schema and any others."""

from __future__ import annotations

import json

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from heliostat import serve

app = FastAPI()


class Trip(BaseModel):
    miles: float = Field(ge=0, le=1000)
    stops: list[str] = Field(default=[], max_length=3)


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
@serve.ingress(app)
class Fares:
    @app.post("/fare")
    async def fare(self, trip: Trip, tip: int = 0) -> dict[str, float]:
        return {"fare": 2.5 + 2 * trip.miles + tip}

    @app.get("/zones/{zone}")
    def zone(self, zone: int) -> dict[str, int]:
        return {"zone": zone}


# Finite, as JSON's numbers are: Python reads and writes Infinity, but FastAPI cannot say in an answer
# that it was refused.
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TRIPS = st.fixed_dictionaries(
    {"miles": st.floats(0, 1000)}, optional={"stops": st.lists(st.text(), max_size=3)}
)
MANY = settings(
    max_examples=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module", autouse=True)
def running(port):
    serve.run(Fares.bind(), name="fares")


@pytest.fixture
def client(port):
    """The one of the folder ends all applications after every test."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as one:
        yield one


@MANY
@given(trip=TRIPS, tip=st.integers(-(2**31), 2**31))
def test_what_fits_the_schema_is_answered_by_it(client, trip, tip):
    answer = client.post("/fare", json=trip, params={"tip": tip})
    assert answer.status_code == 200
    assert answer.json().keys() == {"fare"}


@MANY
@given(body=st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_any_other_body_is_refused_with_a_status_of_the_schema(client, body):
    answer = client.post("/fare", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 422)  # 400: it is no text


@MANY
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]),
    path=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30),
    tip=st.text(max_size=10),
)
def test_no_path_method_or_parameter_makes_a_5xx(client, method, path, tip):
    for where in (f"/zones/{path}", f"/{path.lstrip('/')}", "/fare"):  # after // comes a host
        answer = client.request(method, where.replace("#", "%23"), params={"tip": tip})
        assert answer.status_code < 500
