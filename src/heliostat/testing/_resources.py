"""The suite's tests of logical resources."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg"

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat.exceptions import ActorUnschedulableError, TaskUnschedulableError
from heliostat.testing._session import Gate, SharedSession, with_session, without_session
from heliostat.testing.clock import until


def held(name: str) -> float:
    """How much of a resource is in use."""
    return ray.cluster_resources()[name] - ray.available_resources().get(name, 0.0)


class ResourceTests(SharedSession):
    """num_cpus, num_gpus, custom resources; fractions of them."""

    def test_a_running_task_holds_what_it_asked_for(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote(num_cpus=1.5, num_gpus=0.25, resources={"spoon": 0.1})
        def hold() -> dict[str, float]:
            gate.wait()
            return dict(ray.get_runtime_context().get_assigned_resources())

        ref = hold.remote()
        until(lambda: (held("CPU"), held("GPU"), round(held("spoon"), 6)) == (1.5, 0.25, 0.1))
        gate.open()
        assert ray.get(ref) == {"CPU": 1.5, "GPU": 0.25, "spoon": 0.1}

    def test_a_resource_bounds_how_many_run_at_once(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote(num_cpus=0, resources={"spoon": 1})
        def eat() -> None:
            gate.wait()

        refs = [eat.remote() for _ in range(3)]
        until(lambda: held("spoon") == 2.0)
        assert ray.wait(refs, timeout=0)[0] == []
        gate.open()
        ray.get(refs, timeout=20)

    @with_session(num_cpus=1)
    def test_fractions_add_up_exactly(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote(num_cpus=0.1)
        def hold() -> None:
            gate.wait()

        refs = [hold.remote() for _ in range(10)]
        until(lambda: held("CPU") == 1.0)
        gate.open()
        ray.get(refs, timeout=30)

    def test_a_task_of_0_cpus_runs_when_all_cpus_are_taken(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote(num_cpus=4)
        def hog() -> None:
            gate.wait()

        @ray.remote(num_cpus=0)
        def light() -> str:
            return "done"

        hogging = hog.remote()
        until(lambda: held("CPU") == 4.0)
        assert ray.get(light.remote(), timeout=20) == "done"
        gate.open()
        ray.get(hogging)

    def test_a_small_task_does_not_wait_behind_one_that_cannot_run_yet(
        self, tmp_path: Path
    ) -> None:
        gate = Gate(tmp_path)

        @ray.remote(num_cpus=1)
        def hold() -> None:
            gate.wait()

        @ray.remote(num_cpus=4)
        def wide() -> str:
            return "wide"

        @ray.remote(num_cpus=1)
        def narrow() -> str:
            return "narrow"

        holding = hold.remote()
        until(lambda: held("CPU") == 1.0)
        big = wide.remote()
        assert ray.get(narrow.remote(), timeout=20) == "narrow"
        gate.open()
        assert ray.get([big, holding], timeout=20) == ["wide", None]

    def test_gpus_are_numbered_and_seen_by_cuda(self) -> None:
        @ray.remote
        def look() -> tuple[list[Any], str | None]:
            return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

        one, two = ray.get([look.options(num_gpus=1).remote(), look.options(num_gpus=2).remote()])
        assert one[0] in ([0], [1])
        assert one[1] == str(one[0][0])
        assert two == ([0, 1], "0,1")

    def test_a_task_without_gpus_has_none_after_one_with(self) -> None:
        @ray.remote
        def ids() -> list[Any]:
            return ray.get_gpu_ids()

        for _ in range(3):
            assert ray.get(ids.options(num_gpus=1).remote()) in ([0], [1])
            assert ray.get(ids.remote()) == []

    def test_actors_with_a_gpu_each_have_different_ones(self) -> None:
        @ray.remote(num_gpus=1)
        class Device:
            def look(self) -> tuple[list[Any], str | None]:
                return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

        devices = [Device.remote(), Device.remote()]
        seen = ray.get([device.look.remote() for device in devices])
        assert sorted(seen) == [([0], "0"), ([1], "1")]

    def test_halves_of_a_gpu_share_it(self) -> None:
        @ray.remote(num_gpus=0.5)
        class Half:
            def look(self) -> list[Any]:
                return ray.get_gpu_ids()

        halves = [Half.remote() for _ in range(4)]
        seen = ray.get([half.look.remote() for half in halves])
        assert sorted(seen) == [[0], [0], [1], [1]]

    @without_session
    @pytest.mark.parametrize("visible", ["4,6", "GPU-8f2, GPU-1c0"])
    def test_gpus_are_called_what_the_drivers_environment_calls_them(
        self, visible: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        ray.init(engine=self.engine, num_cpus=2)
        names = [name.strip() for name in visible.split(",")]

        @ray.remote
        class Device:
            def look(self) -> tuple[Any, list[str]]:
                return ray.get_gpu_ids(), ray.get_runtime_context().get_accelerator_ids()["GPU"]

        @ray.remote
        def look() -> Any:
            return ray.get_gpu_ids()

        assert ray.get(look.remote()) == ray.get_gpu_ids() == []
        assert ray.get(look.options(num_gpus=2).remote()) == names
        device = Device.options(num_gpus=2).remote()
        assert ray.get(device.look.remote()) == (names, names)

    @without_session
    @pytest.mark.parametrize("visible", ["", "-1", "4"])
    def test_more_gpus_than_the_environment_shows_are_refused(
        self, visible: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with pytest.raises(ValueError, match="num_gpus=2, but CUDA_VISIBLE_DEVICES"):
            ray.init(engine=self.engine, num_gpus=2)
        assert not ray.is_initialized()

    def test_an_idle_actor_holds_no_cpu_unless_it_asked_for_some(self) -> None:
        @ray.remote
        class Plain:
            def ready(self) -> None: ...

        plain, asking = Plain.remote(), Plain.options(num_cpus=2).remote()
        ray.get([plain.ready.remote(), asking.ready.remote()])
        until(lambda: held("CPU") == 2.0)
        more = [Plain.remote() for _ in range(5)]
        ray.get([actor.ready.remote() for actor in more], timeout=30)

    def test_an_actor_waits_for_resources_that_come_free(self) -> None:
        @ray.remote(num_cpus=3)
        class Wide:
            def ready(self) -> str:
                return "ready"

        first = Wide.remote()
        ray.get(first.ready.remote())
        second = Wide.remote()
        ref = second.ready.remote()
        assert ray.wait([ref], timeout=0.05)[0] == []
        ray.kill(first)
        assert ray.get(ref, timeout=20) == "ready"

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"num_gpus": 3}, r"GPU.*3"),
            ({"num_cpus": 64}, r"CPU.*64"),
            ({"resources": {"fork": 1}}, r"fork"),
            ({"resources": {"spoon": 5}}, r"spoon.*5"),
        ],
    )
    def test_what_can_never_run_fails_at_once_and_names_what_is_missing(
        self, options: dict[str, Any], named: str
    ) -> None:
        @ray.remote
        def task() -> None: ...

        @ray.remote
        class Actor:
            def call(self) -> None: ...

        with pytest.raises(TaskUnschedulableError, match=f"(?s){named}"):
            ray.get(task.options(**options).remote(), timeout=5)
        with pytest.raises(ActorUnschedulableError, match=f"(?s){named}"):
            ray.get(Actor.options(**options).remote().call.remote(), timeout=5)

    @with_session(num_cpus=1)
    def test_num_gpus_without_any_gpu_fails_at_once(self) -> None:
        @ray.remote(num_gpus=1)
        def train() -> None: ...

        with pytest.raises(TaskUnschedulableError, match="GPU"):
            ray.get(train.remote(), timeout=5)
