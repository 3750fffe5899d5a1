"""The shared suite on a Ray cluster of two nodes, and how that engine differs from ours.

It runs where one interpreter has both Ray and what our tests need.
"""

import contextlib
from typing import Any, ClassVar

import pytest

import heliostat as ray
from heliostat.testing._placement import PlacementTests
from heliostat.testing._session import STANDARD, SharedSession
from heliostat.testing.clock import until
from heliostat.testing.suite import EngineTests
from heliostat.util import state
from tests.ray import cluster

pytest.importorskip("ray.cluster_utils")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]

# The page docs/scale_out.md has these reasons for users.
RAYS_WORDS = "Ray says that a worker died, and not of what"
STOPPED = "Ray waits for a process that is stopped, as long as its connection holds"
CIRCLES = "Ray does not look for tasks and actors that wait for each other"
CRASHES = "Ray 2.60 may end the program when the awaited argument of a cancelled task arrives"
WIDE = "a task or bundle runs on one node, and each of the two has half of what there is"
LISTED = "Ray lists what has run some time later"
LATE = "Ray kills, cancels and restarts some time later: calls made at once may still be answered"
BY_ITS_END = "items that Ray's worker yields just before it dies may be lost with it"
NAMED_BY_ADDRESS = "a node of a cluster is named by its address, and none is 127.0.0.1"
HOOKS = "Ray runs a setup hook for whole sessions only, and another is refused by name"
ITS_OWN = "${NAME} is the variable of the node that runs the task"
THREADS = "Ray says OMP_NUM_THREADS to a worker, and none of the other variables"
WORDS = "Ray has words of its own for this error, and names of its own for an actor's threads"
STREAMS = "a stream is read in the process that asked for it"
RESULT = "what a call of a threaded actor raises when it sees that it was cancelled is its result"
UNTAKEN = "Ray lets a task run on, with its CPU, whose stream nobody takes"
STORE = "Ray's store has 75 MB and more, and what does not fit into it lies on disk"
WHOLE = "Ray has more than one of a resource in whole numbers"
OWNED = "a value goes with the worker that has put it there or has asked for it"
LAST = "Ray ends an actor with the handles that its maker has passed on, whoever has found others"
ALONE = "an identifier by itself finds nothing: references travel as references"
IN_NO_ORDER = "which of a node's GPUs come first is Ray's choice"
ANY_WORKER = "which worker of which node runs a task is Ray's choice"

EXCUSES: dict[str, tuple[str, ...]] = {
    RAYS_WORDS: (
        "test_a_dead_worker_without_retries_is_an_error_that_says_how_it_died",
        "test_a_crash_without_restarts_is_the_end",
        "test_an_actor_that_dies_in_each_construction_is_restarted_so_often_and_no_more",
    ),
    STOPPED: (
        "test_a_stopped_worker_is_replaced",
        "test_a_stopped_worker_without_retries_is_an_error_that_says_so",
        "test_a_stopped_actor_is_restarted",
    ),
    CIRCLES: (
        "test_tasks_that_wait_for_each_other_are_told",
        "test_actors_that_wait_for_each_other_are_told",
        "test_an_actor_that_waits_for_itself_is_told",
        "test_an_event_loop_that_waits_for_its_own_call_is_told",
        "test_actors_that_call_each_other_often_are_told_when_they_wait_in_a_circle",
    ),
    LATE: (
        "test_an_async_actor_that_cancels_all_that_runs_in_it_serves_on",
        "test_a_call_that_waits_at_an_actor_is_cancelled",
        "test_calls_waiting_behind_a_crash_run_after_the_restart",
        "test_kill_with_restart_uses_a_restart",
        "test_a_restarted_actor_stays_in_its_group",
        "test_an_actor_cancels_a_call_that_it_made",
    ),
    LISTED: ("test_a_call_has_the_name_that_its_options_give_it",),
    CRASHES: ("test_a_task_that_waits_for_an_argument_is_cancelled",),
    BY_ITS_END: ("test_a_stream_whose_worker_dies_ends_with_the_error",),
    WIDE: (
        "test_what_can_never_be_set_aside_fails_at_once",
        "test_a_group_waits_for_what_another_holds",
        "test_a_pending_group_holds_nothing",
        "test_work_waits_for_its_group",
        "test_each_bundle_has_gpus_of_its_own",
        "test_a_request_larger_than_its_bundle_fails_at_once",
        "test_the_table_has_every_group_and_its_state",
        "test_removing_a_pending_group_fails_who_waits_for_it",
        "test_a_task_of_0_cpus_runs_when_all_cpus_are_taken",
        "test_a_small_task_does_not_wait_behind_one_that_cannot_run_yet",
        "test_an_actor_waits_for_resources_that_come_free",
        "test_bundles_are_told_by_every_handle",
        "test_gpus_are_numbered_and_seen_by_cuda",
        "test_actors_with_a_gpu_each_have_different_ones",
        "test_halves_of_a_gpu_share_it",
    ),
    THREADS: (
        "test_thread_counts_are_those_of_the_tasks_cpus",
        "test_the_users_thread_counts_win",
    ),
    HOOKS: (
        "test_a_setup_hook_runs_once_in_each_new_worker",
        "test_a_setup_hook_that_raises_fails_its_tasks_and_actors",
    ),
    ITS_OWN: ("test_a_variable_may_be_built_on_the_one_that_is_there",),
    WORDS: (
        "test_more_than_max_pending_calls_are_refused",
        "test_a_concurrency_group_bounds_its_own_calls_only",
    ),
    STREAMS: ("test_whoever_waits_for_the_end_of_a_stream_does_not_wait_for_ever",),
    RESULT: ("test_a_threaded_call_sees_that_it_was_cancelled",),
    UNTAKEN: (
        "test_a_producer_that_waits_lends_its_cpu",
        "test_a_producer_that_waits_ends_when_its_stream_is_dropped",
        "test_an_abandoned_stream_ends_its_task",
        "test_the_memory_of_interrupted_streams_comes_back",
    ),
    STORE: (
        "test_a_task_whose_arguments_do_not_fit_together_is_an_error",
        "test_an_object_larger_than_the_store_is_refused_with_both_sizes",
        "test_a_result_larger_than_the_store_is_an_error_of_its_task",
        "test_a_store_full_of_arrays_in_use_is_an_error_until_one_is_dropped",
    ),
    WHOLE: ("test_what_init_was_told_is_what_there_is",),
    OWNED: ("test_an_object_survives_the_process_that_made_it",),
    LAST: (
        "test_an_actor_that_gives_its_last_handle_away_lives_on",
        "test_an_actor_found_by_name_lives_on_when_its_first_handle_is_gone",
    ),
    ALONE: ("test_a_reference_is_made_again_of_its_identifier",),
    IN_NO_ORDER: ("test_gpus_are_called_what_the_drivers_environment_calls_them",),
    ANY_WORKER: ("test_workers_of_one_environment_are_used_again_and_never_by_another",),
    NAMED_BY_ADDRESS: ("test_the_machine_has_memory_and_names",),
}


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
        @ray.remote
        class Named:
            def name(self) -> str | None:
                return ray.get_runtime_context().get_task_name()

        named = Named.remote()
        assert str(ray.get(named.name.remote(), timeout=20)).endswith("Named.name")
        assert ray.get(named.name.options(name="mine").remote(), timeout=20) == "mine"
        until(lambda: "mine" in [row.name for row in state.list_tasks()], "it is listed", 20)


class TestOneNode(SharedSession):
    """What two nodes cannot show, because it needs more than half of what there is on one node."""

    engine = "ray"
    settle_s = 20.0
    no_group_is_left = PlacementTests.no_group_is_left


for name in EXCUSES[WIDE]:
    setattr(TestOneNode, name, getattr(EngineTests, name))


def test_every_excuse_is_for_a_test_that_exists() -> None:
    assert [name for name in TestRay.cannot if not hasattr(EngineTests, name)] == []
