"""The suite's tests of placement groups."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg"

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat._core import session
from heliostat.exceptions import (
    ActorDiedError,
    ActorPlacementGroupRemoved,
    GetTimeoutError,
    TaskPlacementGroupRemoved,
)
from heliostat.placement import (
    PlacementGroup,
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from heliostat.strategies import PlacementGroupSchedulingStrategy
from heliostat.testing._resources import held
from heliostat.testing._session import Gate, SharedSession, Tally, with_session
from heliostat.testing.clock import until


def within(group: PlacementGroup, index: int = -1, capture: bool | None = None) -> dict[str, Any]:
    """Options of work that runs in a group."""
    return {"scheduling_strategy": PlacementGroupSchedulingStrategy(group, index, capture)}


@ray.remote
def where() -> str | None:
    """The group that this task runs in."""
    return ray.get_runtime_context().get_placement_group_id()


@ray.remote
def gpus() -> list[Any]:
    """The GPUs that this task has."""
    return ray.get_gpu_ids()


@ray.remote
class Resident:
    """An actor to be put somewhere."""

    def where(self) -> str | None:
        return ray.get_runtime_context().get_placement_group_id()

    def gpus(self) -> list[Any]:
        return ray.get_gpu_ids()


class PlacementTests(SharedSession):
    """Resources that are set aside."""

    @pytest.fixture(autouse=True)
    def no_group_is_left(self, session: None) -> Iterator[None]:
        """Groups live until they are removed."""
        yield
        if ray.is_initialized():
            for id_, row in placement_group_table().items():
                if row["state"] != "REMOVED":
                    remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(id_)))

    # What is set aside

    def test_a_group_sets_its_bundles_aside_until_it_is_removed(self) -> None:
        group = placement_group([{"CPU": 1}, {"CPU": 0.5, "GPU": 1, "spoon": 0.1}])
        assert group.wait(20)
        assert (held("CPU"), held("GPU"), round(held("spoon"), 6)) == (1.5, 1.0, 0.1)
        remove_placement_group(group)
        until(lambda: (held("CPU"), held("GPU"), held("spoon")) == (0.0, 0.0, 0.0))

    def test_ready_gives_the_handle(self) -> None:
        group = placement_group([{"CPU": 1}])
        assert ray.get(group.ready(), timeout=20) == group
        assert ray.wait([group.ready()], timeout=20) == ([group.ready()], [])

    def test_bundles_are_told_by_every_handle(self) -> None:
        group = placement_group([{"CPU": 1, "GPU": 0.5}, {"spoon": 2}], name="told")
        for handle in (group, pickle.loads(pickle.dumps(group)), get_placement_group("told")):
            assert handle == group
            assert hash(handle) == hash(group)
            assert handle.bundle_specs == [{"CPU": 1.0, "GPU": 0.5}, {"spoon": 2.0}]
            assert handle.bundle_count == 2

    @pytest.mark.parametrize("strategy", [None, "PACK", "SPREAD", "STRICT_PACK"])
    def test_one_machine_satisfies_these_strategies(self, strategy: str | None) -> None:
        group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy=strategy)
        assert group.wait(20)
        assert placement_group_table(group)["strategy"] == (strategy or "PACK")

    @pytest.mark.parametrize(
        ("bundles", "options", "named"),
        [
            ([{"CPU": 5}], {}, r"CPU: 5 \(there is 4\).*num_cpus=5"),
            ([{"CPU": 2}] * 3, {}, r"CPU: 6 \(there is 4\)"),
            ([{"fork": 1}], {}, r"fork: 1 \(there is 0\).*resources=\{'fork': 1\}"),
            ([{"GPU": 0.6}] * 3, {}, "GPU"),
            (
                [{"CPU": 1}] * 2,
                {"strategy": "STRICT_SPREAD"},
                "a machine for each of its 2 bundles",
            ),
            ([{"CPU": 1}], {"bundle_label_selector": [{"zone": "far"}]}, "zone = far"),
            ([{"CPU": 1}], {"topology_strategy": {"rack": "STRICT_PACK"}}, "rack exists"),
        ],
    )
    def test_what_can_never_be_set_aside_fails_at_once(
        self, bundles: Any, options: Any, named: str
    ) -> None:
        with pytest.raises(ValueError, match=f"(?s){named}"):
            placement_group(bundles, **options)

    @pytest.mark.parametrize(
        ("bundles", "options", "named"),
        [
            ([], {}, "not empty"),
            ({"CPU": 1}, {}, "list of dicts"),
            ([{}], {}, "asks for nothing"),
            ([{"CPU": 0}], {}, "asks for nothing"),
            ([{"CPU": -1}], {}, "-1"),
            ([{"CPU": "1"}], {}, "CPU.*'1'"),
            ([{"GPU": 1.5}], {}, "whole number"),
            ([{"CPU": 1}], {"strategy": "ANYWHERE"}, "ANYWHERE.*STRICT_PACK"),
            ([{"CPU": 1}], {"lifetime": "short"}, "detached.*short"),
            ([{"CPU": 1}], {"bundle_label_selector": [{}, {}]}, "each of the 1 bundles"),
            (
                [{"CPU": 1}],
                {"strategy": "PACK", "topology_strategy": {"ray.io/node-id": "PACK"}},
                "topology_strategy",
            ),
        ],
    )
    def test_arguments_that_mean_nothing_are_refused(
        self, bundles: Any, options: Any, named: str
    ) -> None:
        with pytest.raises(ValueError, match=f"(?s){named}"):
            placement_group(bundles, **options)

    def test_a_group_waits_for_what_another_holds(self) -> None:
        first = placement_group([{"CPU": 3}])
        second = placement_group([{"CPU": 2}, {"CPU": 1}])
        assert first.wait(20)
        assert not second.wait(0.05)
        assert placement_group_table(second)["state"] == "PENDING"
        with pytest.raises(GetTimeoutError):
            ray.get(second.ready(), timeout=0.05)
        remove_placement_group(first)
        assert second.wait(20)
        assert ray.get(second.ready(), timeout=20) == second

    def test_a_pending_group_holds_nothing(self) -> None:
        first, second = placement_group([{"CPU": 3}]), placement_group([{"CPU": 1}, {"CPU": 1}])
        assert first.wait(20)
        assert not second.wait(0.05)
        assert held("CPU") == 3.0
        assert ray.get(where.remote(), timeout=20) is None

    # Work in a group

    def test_work_runs_in_its_group_and_knows_it(self) -> None:
        @ray.remote
        def current() -> PlacementGroup | None:
            return get_current_placement_group()

        group = placement_group([{"CPU": 1}])
        id_ = group.id.hex()
        assert ray.get(current.options(**within(group)).remote(), timeout=20) == group
        assert ray.get(where.options(placement_group=group).remote(), timeout=20) == id_
        actor = Resident.options(num_cpus=1, **within(group, 0)).remote()
        assert ray.get(actor.where.remote(), timeout=20) == id_
        assert get_current_placement_group() is None
        assert ray.get(where.remote(), timeout=20) is None

    def test_work_in_a_group_takes_nothing_but_what_was_set_aside(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote(num_cpus=2)
        def hold() -> None:
            gate.wait()

        group = placement_group([{"CPU": 2}])
        assert group.wait(20)
        refs = [hold.options(**within(group)).remote() for _ in range(2)]
        assert ray.get(where.options(num_cpus=2).remote(), timeout=20) is None
        assert held("CPU") == 2.0
        gate.open()
        ray.get(refs, timeout=20)

    def test_a_bundle_bounds_how_many_run_at_once(self, tmp_path: Path) -> None:
        gate, tally = Gate(tmp_path), Tally(tmp_path)

        @ray.remote(num_cpus=0.5)
        def hold() -> None:
            tally.add()
            gate.wait()

        group = placement_group([{"CPU": 1}, {"CPU": 0.5}])
        in_first = [hold.options(**within(group, 0)).remote() for _ in range(4)]
        until(lambda: tally.count() == 2)
        assert ray.wait(in_first, timeout=0.05)[0] == []
        assert tally.count() == 2
        anywhere = hold.options(**within(group)).remote()
        until(lambda: tally.count() == 3)
        gate.open()
        ray.get([*in_first, anywhere], timeout=20)

    def test_work_waits_for_its_group(self) -> None:
        first, second = placement_group([{"CPU": 4}]), placement_group([{"CPU": 1}])
        assert first.wait(20)
        task = where.options(**within(second)).remote()
        actor = Resident.options(**within(second)).remote()
        call = actor.where.remote()
        assert ray.wait([task, call], timeout=0.05)[0] == []
        remove_placement_group(first)
        assert ray.get([task, call], timeout=20) == [second.id.hex()] * 2

    def test_each_bundle_has_gpus_of_its_own(self) -> None:
        group = placement_group([{"CPU": 1, "GPU": 1}, {"CPU": 1, "GPU": 1}])
        seen = [
            ray.get(gpus.options(num_gpus=1, **within(group, index)).remote(), timeout=20)
            for index in (0, 1, 0)
        ]
        assert sorted(seen[:2]) == [[0], [1]]
        assert seen[2] == seen[0]
        actor = Resident.options(num_gpus=1, **within(group, 1)).remote()
        assert ray.get(actor.gpus.remote(), timeout=20) == seen[1]

    def test_cuda_sees_the_gpu_of_the_bundle(self) -> None:
        @ray.remote(num_gpus=0.5)
        def look() -> tuple[list[Any], str | None]:
            return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

        group = placement_group([{"CPU": 1, "GPU": 1}, {"CPU": 1, "GPU": 0.5}])
        for index in (0, 1):
            ids, seen = ray.get(look.options(**within(group, index)).remote(), timeout=20)
            assert seen == str(ids[0])

    def test_half_a_gpu_in_a_bundle_leaves_the_other_half_to_others(self) -> None:
        group = placement_group([{"GPU": 0.5}, {"GPU": 1}])
        assert group.wait(20)
        inside = gpus.options(num_cpus=0, num_gpus=0.5, **within(group, 0)).remote()
        outside = gpus.options(num_gpus=0.5).remote()
        assert ray.get(inside, timeout=20) == ray.get(outside, timeout=20)

    def test_a_request_larger_than_its_bundle_fails_at_once(self) -> None:
        group = placement_group([{"CPU": 1}, {"CPU": 2}])
        assert ray.get(where.options(num_cpus=2, **within(group)).remote(), timeout=20)
        for options, named in (
            ({"num_cpus": 2, **within(group, 0)}, "bundle 0"),
            ({"num_cpus": 3, **within(group)}, "any bundle"),
            ({"num_gpus": 1, **within(group)}, "GPU"),
        ):
            with pytest.raises(ValueError, match=named):
                where.options(**options).remote()
            with pytest.raises(ValueError, match=named):
                Resident.options(**options).remote()

    @pytest.mark.parametrize("index", [2, -2])
    def test_a_bundle_that_is_not_there_fails_at_once(self, index: int) -> None:
        group = placement_group([{"CPU": 1}, {"CPU": 1}])
        with pytest.raises(ValueError, match=rf"{index}.*bundles 0 to 1"):
            where.options(**within(group, index)).remote()
        with pytest.raises(ValueError, match=rf"{index}.*bundles 0 to 1"):
            Resident.options(placement_group=group, placement_group_bundle_index=index).remote()
        with pytest.raises(ValueError, match="without a placement group"):
            where.options(placement_group_bundle_index=1).remote()

    # Children

    def test_children_run_in_the_group_if_they_are_captured(self) -> None:
        @ray.remote
        def parent(**options: Any) -> Any:
            return ray.get(where.options(**options).remote(), timeout=20)

        group = placement_group([{"CPU": 1}])
        loose, strict = within(group), within(group, 0, capture=True)
        assert ray.get(parent.options(**loose).remote(), timeout=20) is None
        assert ray.get(parent.options(**strict).remote(), timeout=20) == group.id.hex()
        for others in (
            {"scheduling_strategy": "DEFAULT"},
            {"scheduling_strategy": "SPREAD"},
            {"placement_group": None},
            {"placement_group_capture_child_tasks": False},
        ):
            assert ray.get(parent.options(**strict).remote(**others), timeout=20) is None
        with pytest.raises(ValueError, match="more than any bundle"):
            ray.get(parent.options(**strict).remote(num_cpus=2), timeout=20)

    def test_children_of_an_actor_are_captured_and_theirs_too(self) -> None:
        @ray.remote
        def child(depth: int) -> Any:
            here = ray.get_runtime_context()
            assert here.should_capture_child_tasks_in_placement_group
            below = ray.get(child.remote(depth - 1), timeout=20) if depth else []
            return [here.get_placement_group_id(), *below]

        @ray.remote
        class Parent:
            def run(self) -> Any:
                return ray.get(child.remote(1), timeout=20)

        group = placement_group([{"CPU": 1}])
        parent = Parent.options(placement_group=group, placement_group_capture_child_tasks=True)
        assert ray.get(parent.remote().run.remote(), timeout=20) == [group.id.hex()] * 2

    def test_a_task_may_make_and_remove_groups(self) -> None:
        @ray.remote(num_cpus=0)
        def make() -> Any:
            group = placement_group([{"CPU": 1}], name="from within")
            assert ray.get(group.ready(), timeout=20) == group
            other = placement_group([{"CPU": 1}])
            assert other.wait(20)
            remove_placement_group(other)
            return group

        group = ray.get(make.remote(), timeout=20)
        assert get_placement_group("from within") == group
        assert ray.get(where.options(**within(group)).remote(), timeout=20) == group.id.hex()
        until(lambda: held("CPU") == 1.0)

    # Names

    def test_a_name_finds_a_group_until_it_is_removed(self) -> None:
        group = placement_group([{"CPU": 1}], name="one", lifetime="detached")
        assert get_placement_group("one") == group
        with pytest.raises(ValueError, match="'one' exists already"):
            placement_group([{"CPU": 1}], name="one")
        remove_placement_group(group)
        with pytest.raises(ValueError, match="'one'"):
            get_placement_group("one")
        again = placement_group([{"CPU": 1}], name="one")
        assert get_placement_group("one") == again != group

    def test_an_unknown_name_is_refused_with_those_there_are(self) -> None:
        placement_group([{"CPU": 1}], name="known")
        with pytest.raises(ValueError, match=r"unknown.*known"):
            get_placement_group("unknown")
        with pytest.raises(ValueError, match="not empty"):
            get_placement_group("")

    def test_the_table_has_every_group_and_its_state(self) -> None:
        one, two = placement_group([{"CPU": 3}], name="one"), placement_group([{"CPU": 2}])
        assert one.wait(20)
        table = placement_group_table()
        assert table[one.id.hex()]["state"] == "CREATED"
        assert table[one.id.hex()]["name"] == "one"
        assert table[one.id.hex()]["bundles"] == {0: {"CPU": 3.0}}
        node = ray.get_runtime_context().get_node_id()
        assert table[one.id.hex()]["bundles_to_node_id"] == {0: node}
        assert table[two.id.hex()]["state"] == "PENDING"
        assert "resources" in table[two.id.hex()]["stats"]["reason"]
        remove_placement_group(one)
        assert placement_group_table(one)["state"] == "REMOVED"

    # Removal

    def test_removing_a_pending_group_fails_who_waits_for_it(self) -> None:
        first, second = placement_group([{"CPU": 4}]), placement_group([{"CPU": 1}])
        assert first.wait(20)
        waiting = second.ready()
        remove_placement_group(second)
        with pytest.raises(TaskPlacementGroupRemoved):
            ray.get(waiting, timeout=20)
        with pytest.raises(TaskPlacementGroupRemoved):
            ray.get(second.ready(), timeout=20)
        assert not second.wait(0.05)

    def test_nothing_runs_in_a_removed_group(self) -> None:
        group = placement_group([{"CPU": 1}])
        actor = Resident.options(**within(group)).remote()
        assert ray.get(actor.where.remote(), timeout=20) == group.id.hex()
        remove_placement_group(group)
        remove_placement_group(group)
        with pytest.raises(ActorDiedError, match="placement group"):
            ray.get(actor.where.remote(), timeout=20)
        with pytest.raises(TaskPlacementGroupRemoved):
            ray.get(where.options(**within(group)).remote(), timeout=20)
        late = Resident.options(**within(group)).remote()
        with pytest.raises(ActorPlacementGroupRemoved):
            ray.get(late.where.remote(), timeout=20)

    def test_removing_a_group_ends_what_runs_and_waits_in_it(self, tmp_path: Path) -> None:
        gate, tally = Gate(tmp_path), Tally(tmp_path)

        @ray.remote(max_retries=-1)
        def hold() -> None:
            tally.add()
            gate.wait()

        @ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)
        class Holder:
            def hold(self) -> None:
                tally.add()
                gate.wait()

        group = placement_group([{"CPU": 1}, {"CPU": 1}])
        running = hold.options(**within(group, 0)).remote()
        actor = Holder.options(**within(group, 1)).remote()
        call = actor.hold.remote()
        until(lambda: tally.count() == 2)
        queued = hold.options(**within(group, 0)).remote()
        waiting = Holder.options(**within(group, 1)).remote()
        unmade = waiting.hold.remote()
        remove_placement_group(group)
        for ref in (running, queued):
            with pytest.raises(TaskPlacementGroupRemoved, match="removed"):
                ray.get(ref, timeout=20)
        with pytest.raises(ActorDiedError, match="placement group"):
            ray.get(call, timeout=20)
        with pytest.raises(ActorPlacementGroupRemoved):
            ray.get(unmade, timeout=20)
        until(lambda: held("CPU") == 0.0)
        assert tally.count() == 2

    def test_a_restarted_actor_stays_in_its_group(self) -> None:
        group = placement_group([{"CPU": 1, "GPU": 1}])
        actor = Resident.options(num_gpus=1, max_restarts=1, **within(group)).remote()
        before = ray.get([actor.where.remote(), actor.gpus.remote()], timeout=20)
        ray.kill(actor, no_restart=False)
        until(lambda: _answers(actor))
        assert ray.get([actor.where.remote(), actor.gpus.remote()], timeout=20) == before

    @with_session(num_cpus=2)
    def test_a_session_that_is_reset_has_no_groups(self) -> None:
        first = placement_group([{"CPU": 2}], name="one")
        pending = placement_group([{"CPU": 1}], name="two")
        assert first.wait(20)
        assert not pending.wait(0.05)
        actor = Resident.options(**within(first)).remote()
        assert ray.get(actor.where.remote(), timeout=20) == first.id.hex()
        session.current_engine().reset()
        assert placement_group_table() == {}
        assert ray.available_resources()["CPU"] == 2
        assert placement_group([{"CPU": 2}], name="one").wait(20)

    def test_code_knows_its_identifiers(self) -> None:
        @ray.remote
        class Told:
            def ids(self) -> tuple[dict[str, Any], Any, str, str]:
                context = ray.get_runtime_context()
                group, name = context.current_placement_group_id, context.get_session_name()
                return context.get(), group, name, context.get_worker_id()

        here, group = ray.get_runtime_context(), placement_group([{"CPU": 1}])
        ids, of_group, name, worker = ray.get(
            Told.options(**within(group)).remote().ids.remote(), timeout=20
        )
        assert ids["job_id"] == here.job_id
        assert ids["node_id"] == here.node_id == ray.NodeID.from_hex(here.get_node_id())
        assert ids["namespace"] == here.namespace
        assert isinstance(ids["task_id"], ray.TaskID)
        assert isinstance(ids["actor_id"], ray.ActorID)
        assert of_group == group.id
        assert name == here.get_session_name()
        assert ray.WorkerID.from_hex(worker).hex() == worker
        assert (here.task_id, here.actor_id, here.get_placement_group_id()) == (None, None, None)
        assert here.current_placement_group_id.is_nil()
        assert not here.should_capture_child_tasks_in_placement_group
        assert set(here.get()) == {"job_id", "node_id", "namespace"}


def _answers(actor: Any) -> bool:
    try:
        ray.get(actor.where.remote(), timeout=20)
    except ray.exceptions.RayActorError:
        return False
    return True
