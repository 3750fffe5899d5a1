"""What replicas share and are: actors of their deployment, ranks, places. The controller runs in
this process, as any class of `async` methods may; the replicas are real."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import heliostat as ray
from heliostat import serve
from heliostat.exceptions import ActorDiedError, RayActorError, RayError
from heliostat.serve._build import build
from heliostat.serve._controller import Controller
from heliostat.serve._replica_actors import _until_ill
from heliostat.serve._specs import ApplicationSpec
from heliostat.serve.api import RunTarget, _application
from heliostat.serve.config import (
    DeploymentActorConfig,
    DeploymentConfig,
    HTTPOptions,
    gRPCOptions,
)
from heliostat.serve.exceptions import ExternalScalerDisabledError, RayServeException
from heliostat.serve.schema import ApplicationStatus
from heliostat.util.placement_group import placement_group_table
from heliostat.util.state import list_actors


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    ray.init(num_cpus=4)
    yield
    ray.shutdown()


def spec_of(
    app: serve.Application, capacity: float | None = None, **options: Any
) -> ApplicationSpec:
    return _application(RunTarget(app, **options), build(app, "default"), capacity)


@asynccontextmanager
async def running(spec: ApplicationSpec) -> AsyncIterator[Controller]:
    controller = Controller(HTTPOptions(port=0), gRPCOptions())
    await controller.start("another process")
    await controller.deploy(spec)
    assert await controller.until_deployed(spec.name) == ""
    yield controller
    await controller.stop()


async def ask(controller: Controller, method: str, deployment: str = "D") -> list[Any]:
    """The answers of all replicas that run."""
    table = await controller.watch("default", deployment, -1)
    return [
        await replica.call.remote(method, "", "", "", "", "") for replica in table.replicas.values()
    ]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.01)


@ray.remote(num_cpus=0)
class Tally:
    def __init__(self, first: int) -> None:
        if first < 0:
            raise ValueError("no such tally")
        self.total = first

    def add(self) -> int:
        self.total += 1
        return self.total

    def about(self) -> tuple[int, Any]:
        return os.getpid(), serve.get_deployment_actor_context()


def sharing(first: int, **options: Any) -> serve.Application:
    @serve.deployment(
        num_replicas=2,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=0.05,
        deployment_actors=[DeploymentActorConfig("tally", Tally, (first,))],
        **options,
    )
    class D:
        def __init__(self) -> None:
            self.tally = serve.get_deployment_actor("tally")

        async def add(self) -> int:
            return await self.tally.add.remote()

        async def about(self) -> tuple[int, Any]:
            return await serve.get_deployment_actor("tally").about.remote()

        def missing(self) -> str:
            try:
                serve.get_deployment_actor("other")
            except ValueError as error:
                return str(error)
            return ""

    return D.bind()


async def until_tallies_are(number: int) -> None:
    alive = [("class_name", "=", "Tally"), ("state", "=", "ALIVE")]

    async def are() -> bool:
        return len(list_actors(filters=alive)) == number

    await until(are)


def test_replicas_share_an_actor_which_is_made_again_and_ends_with_its_version():
    async def go() -> None:
        async with running(spec_of(sharing(10))) as controller:
            assert await ask(controller, "add") == [11, 12]
            assert "has no actor 'other' now" in (await ask(controller, "missing"))[0]
            pid, where = (await ask(controller, "about"))[0]
            assert (where.app_name, where.deployment, where.actor_name) == ("default", "D", "tally")
            os.kill(pid, signal.SIGKILL)

            async def again() -> bool:
                try:
                    return (await ask(controller, "about"))[0][0] != pid
                except (ValueError, RayError):
                    return False

            await until(again)
            await controller.deploy(spec_of(sharing(20)))
            assert await controller.until_deployed("default") == ""
            assert await ask(controller, "add") == [21, 22]

            await until_tallies_are(1)
        await until_tallies_are(0)

    asyncio.run(go())


def test_a_shared_actor_that_cannot_be_made_fails_the_deploy():
    async def go() -> None:
        controller = Controller(HTTPOptions(port=0), gRPCOptions())
        await controller.start("another process")
        await controller.deploy(spec_of(sharing(-1, max_constructor_retry_count=1)))
        assert "no such tally" in await controller.until_deployed("default")
        status = (await controller.status()).applications["default"]
        assert status.status == ApplicationStatus.DEPLOY_FAILED
        await controller.stop()
        await until_tallies_are(0)

    asyncio.run(go())


@ray.remote
class Endless:
    def __init__(self, step: str) -> None:
        with open(step, "w") as began:
            began.write("")
        threading.Event().wait()


@pytest.mark.parametrize("options", [{"num_cpus": 64}, {"num_cpus": 0}], ids=["roomless", "slow"])
def test_a_deployment_whose_actor_is_never_made_can_be_replaced_and_deleted(
    options: dict[str, Any], tmp_path: Path
):
    began = tmp_path / "began"
    waiting = DeploymentActorConfig("never", Endless, (str(began),), actor_options=options)

    async def begin(controller: Controller) -> None:
        await controller.deploy(spec_of(ranked(deployment_actors=[waiting])))
        if not options["num_cpus"]:
            await until(as_async(began.exists))
            began.unlink()

    async def go() -> None:
        controller = Controller(HTTPOptions(port=0), gRPCOptions())
        await controller.start("another process")
        async with asyncio.timeout(20):
            await begin(controller)
            await controller.deploy(spec_of(ranked()))
            assert await controller.until_deployed("default") == ""
            await until(lambda: replicas_are(controller, 1))
            await begin(controller)
            assert await controller.delete("default")
            await begin(controller)
            await controller.stop()
        await until_endless_are_gone()

    asyncio.run(go())


async def replicas_are(controller: Controller, number: int) -> bool:
    deployment = (await controller.status()).applications["default"].deployments["D"]
    return sum(deployment.replica_states.values()) == number


async def until_endless_are_gone() -> None:
    def are() -> bool:
        mine = [("class_name", "=", "Endless")]
        return all(actor.state == "DEAD" for actor in list_actors(filters=mine))

    await until(as_async(are))


def as_async(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return condition()

    return is_so


def test_a_shared_actor_is_found_in_the_environment_of_its_deployment(tmp_path: Path):
    (tmp_path / "only_there.py").write_text("class Shared:\n    def value(self): return 7\n")

    @serve.deployment(
        ray_actor_options={"num_cpus": 0, "runtime_env": {"working_dir": str(tmp_path)}},
        deployment_actors=[DeploymentActorConfig("shared", "only_there:Shared")],
    )
    class D:
        async def value(self) -> int:
            return await serve.get_deployment_actor("shared").value.remote()

    async def go() -> None:
        async with running(spec_of(D.bind())) as controller:
            assert await ask(controller, "value") == [7]

    asyncio.run(go())


def test_outside_of_replicas_and_their_actors_there_is_no_such_thing():
    with pytest.raises(RayServeException, match="only in a deployment's code"):
        serve.get_deployment_actor("tally")
    with pytest.raises(RayServeException, match="only in an actor of deployment_actors="):
        serve.get_deployment_actor_context()


def ranked(**options: Any) -> serve.Application:
    @serve.deployment(version="1", ray_actor_options={"num_cpus": 0}, **options)
    class D:
        def place(self) -> tuple[int, int, int]:
            me = serve.get_replica_context()
            return me.rank.rank, me.world_size, os.getpid()

        def group(self) -> str | None:
            return ray.get_runtime_context().get_placement_group_id()

        async def __call__(self, request: Any) -> str:
            return serve.get_replica_context().code_version

    return D.bind()


def test_replicas_are_ranked_from_0_whoever_dies_and_however_many_there_are():
    async def go() -> None:
        spec = spec_of(ranked(num_replicas=3), external_scaler_enabled=True)
        async with running(spec) as controller:

            async def ranks_are(number: int) -> bool:
                try:
                    places = await ask(controller, "place")
                except RayError:
                    return False
                return sorted(p[:2] for p in places) == [(n, number) for n in range(number)]

            await until(lambda: ranks_are(3))
            places = sorted(await ask(controller, "place"))
            os.kill(places[0][2], signal.SIGKILL)
            await until(lambda: ranks_are(3))
            await controller.scale("default", "D", 2)
            await until(lambda: ranks_are(2))
            await controller.scale("default", "D", 4)
            await until(lambda: ranks_are(4))
            async with httpx.AsyncClient(base_url=await controller.url()) as client:
                answer = await client.get("/")
            assert answer.text == spec.deployments[0].code_version

    asyncio.run(go())


def test_only_applications_that_say_so_are_scaled_from_outside():
    async def go() -> None:
        async with running(spec_of(ranked())) as controller:
            with pytest.raises(ExternalScalerDisabledError, match="external_scaler_enabled=True"):
                await controller.scale("default", "D", 2)
            with pytest.raises(LookupError, match="has no deployment 'E'"):
                await controller.scale("default", "E", 2)
            with pytest.raises(ValueError, match="belongs to application 'default'"):
                await controller.deploy(spec_of(ranked(), name="other"))

    asyncio.run(go())
    scaled = ranked(autoscaling_config={"max_replicas": 2})
    with pytest.raises(ValueError, match="leave out one or the other"):
        spec_of(scaled, external_scaler_enabled=True)


def test_a_part_of_the_capacity_is_a_part_of_the_replicas():
    async def go() -> None:
        async with running(spec_of(ranked(num_replicas=4), 50)) as controller:
            assert len(await ask(controller, "place")) == 2
            assert (await controller.status()).target_capacity == 50

    asyncio.run(go())


def test_each_replica_has_a_placement_group_which_ends_with_it():
    def groups() -> list[str]:
        return [row["state"] for row in placement_group_table().values()]

    async def go() -> None:
        app = ranked(num_replicas=2, placement_group_bundles=[{"CPU": 1}, {"CPU": 0.5}])
        async with running(spec_of(app)) as controller:
            assert ray.available_resources()["CPU"] == 1
            assert len(set(await ask(controller, "group"))) == 2
            assert groups() == ["CREATED"] * 2
        assert groups() == ["REMOVED"] * 2

    asyncio.run(go())
    with pytest.raises(ValueError, match=r"asks for CPU: 8"):
        spec_of(ranked(placement_group_bundles=[{"CPU": 4}, {"CPU": 4}]))


def test_more_replicas_than_a_machine_may_have_are_refused_at_once():
    with pytest.raises(ValueError, match=r"up to 3 replicas, and max_replicas_per_node=2 lets 2"):
        spec_of(ranked(num_replicas=3, max_replicas_per_node=2))
    assert spec_of(ranked(num_replicas=2, max_replicas_per_node=2)).deployments


@ray.remote(num_cpus=0)
class Checked:
    """A replica, as far as its health goes."""

    def __init__(self, *found: Exception | None) -> None:
        self.found = list(found)

    async def check_health(self) -> None:
        error = self.found.pop(0)
        if error is not None:
            raise error


def until_ill(*found: Exception | None, kill: bool = False) -> str:
    config = DeploymentConfig(health_check_period_s=0.001, health_check_timeout_s=10)
    actor = Checked.remote(*found)
    if kill:
        ray.kill(actor)
    return asyncio.run(asyncio.wait_for(_until_ill("D#1", config, actor), 20))


def test_a_replica_is_ill_after_three_failed_checks_in_a_row():
    bad = ValueError("no model")
    assert "no model" in until_ill(bad, bad, None, bad, bad, bad, None)


def test_a_replica_that_is_dead_is_not_checked_again(caplog):
    with pytest.raises(RayActorError):
        until_ill(kill=True)
    assert "health check" not in caplog.text
    # What a user's check raises is no death.
    assert "3 health checks" in until_ill(*[ActorDiedError("another's")] * 3)
