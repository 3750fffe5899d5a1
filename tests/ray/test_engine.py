"""The shared suite on a Ray cluster of two nodes, and how that engine differs from ours.

It runs where one interpreter has both Ray and what our tests need.
"""

import contextlib
import os
from typing import Any, ClassVar

import pytest

import heliostat as ray
from heliostat.testing._placement import PlacementTests
from heliostat.testing._session import STANDARD, SharedSession, without_session
from heliostat.testing.clock import until
from heliostat.testing.suite import EngineTests
from heliostat.util import state
from tests.ray import cluster
from tests.ray.excuses import ANY_NODE, EXCUSES, WIDE

pytest.importorskip("ray.cluster_utils")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]

# The standard session on two nodes.
HALF = {
    "num_cpus": STANDARD["num_cpus"] // 2,
    "num_gpus": STANDARD["num_gpus"] // 2,
    "resources": {name: amount / 2 for name, amount in STANDARD["resources"].items()},
    "object_store_memory": STANDARD["object_store_memory"],
}


LEAST_STORE = 75 << 20  # that Ray makes


class TestRay(EngineTests):
    engine = "ray"
    settle_s = 20.0
    cannot: ClassVar[dict[str, str]] = {
        test: reason for reason, tests in EXCUSES.items() for test in tests
    }
    _open: ClassVar[contextlib.ExitStack] = contextlib.ExitStack()
    _address: ClassVar[str] = ""

    @classmethod
    def _enter(cls, wanted: Any) -> None:
        """The standard session is on a cluster of two nodes; others are on a Ray of their own."""
        if wanted is not None and wanted == cls._running and ray.is_initialized():
            return
        ray.shutdown()
        cls._running = wanted
        if wanted == STANDARD:
            if not cls._address:
                cls._address = cls._open.enter_context(
                    cluster.nodes(HALF, HALF, **cluster.dashboard())
                ).address
            ray.init(cls._address, log_to_driver=False)
        elif wanted is not None:
            store = max(wanted.get("object_store_memory", 0), LEAST_STORE)
            own = {**wanted, "object_store_memory": store}
            ray.init(engine=cls.engine, log_to_driver=False, **own)

    @classmethod
    def teardown_class(cls) -> None:
        """End the last session, and the cluster."""
        cls._enter(None)
        cls._open.close()
        cls._address = ""

    def test_a_call_has_its_class_in_its_name_and_is_listed_some_time(self) -> None:
        self._enter(None)
        self._enter(STANDARD)  # a session with few tasks: Ray lists ten thousand of each

        @ray.remote
        def before() -> None:
            pass

        ray.get([before.remote() for _ in range(150)], timeout=60)  # more than are listed

        @ray.remote
        class Named:
            def name(self) -> str | None:
                return ray.get_runtime_context().get_task_name()

        named = Named.remote()
        assert str(ray.get(named.name.remote(), timeout=20)).endswith("Named.name")
        assert ray.get(named.name.options(name="mine").remote(), timeout=20) == "mine"
        until(lambda: "mine" in [row.name for row in state.list_tasks()], "it is listed", 20)

    @without_session
    def test_visible_gpus_are_the_tasks_own_in_some_order_and_come_back_after_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
        ray.init(engine=self.engine, num_cpus=1, num_gpus=2)

        @ray.remote(max_calls=0)
        def visible() -> list[str]:
            return os.environ["CUDA_VISIBLE_DEVICES"].split(",")

        assert ray.get(visible.options(num_gpus=1).remote()) in (["4"], ["6"])
        assert ray.get(visible.remote()) == ["4", "6"]
        assert sorted(ray.get(visible.options(num_gpus=2).remote())) == ["4", "6"]


class TestOneNode(SharedSession):
    """What two nodes cannot show: it needs more than one has, or the same one each time."""

    engine = "ray"
    settle_s = 20.0
    no_group_is_left = PlacementTests.no_group_is_left


for name in (*EXCUSES[WIDE], *EXCUSES[ANY_NODE]):
    setattr(TestOneNode, name, getattr(EngineTests, name))
