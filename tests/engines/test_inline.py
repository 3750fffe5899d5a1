"""The shared suite on the inline engine, and how that engine differs from the others."""

import gc
from pathlib import Path
from typing import Any, ClassVar

import pytest

import heliostat as ray
from heliostat.testing.suite import EngineTests

ENDED = "a task has ended before its reference exists: nothing waits, overlaps or is held meanwhile"
OURS = "tasks run in this very process: its death would be ours"
NO_PROCESS = "there is one process, born before the session: what a new one has cannot be chosen"
SAME = "values are kept as they are: no copy is made and nothing is pickled"
HERE = "there is no shared memory and nothing to recycle: values live as long as the session"
WHOLE = "a stream without a window is drained when its task is called, and is kept like all values"

EXCUSES: dict[str, tuple[str, ...]] = {
    ENDED: (
        "test_get_runs_into_its_timeout",
        "test_a_constructor_that_hangs_can_be_waited_for_and_killed",
        "test_what_comes_after_a_worker_gave_up_is_let_go",
        "test_an_actor_found_by_name_lives_on_when_its_first_handle_is_gone",
        "test_wait_sees_what_is_ready_first",
        "test_a_running_task_holds_what_it_asked_for",
        "test_a_resource_bounds_how_many_run_at_once",
        "test_fractions_add_up_exactly",
        "test_a_task_of_0_cpus_runs_when_all_cpus_are_taken",
        "test_a_small_task_does_not_wait_behind_one_that_cannot_run_yet",
        "test_an_actor_waits_for_resources_that_come_free",
        "test_a_bundle_bounds_how_many_run_at_once",
        "test_work_in_a_group_takes_nothing_but_what_was_set_aside",
        "test_work_waits_for_its_group",
        "test_removing_a_group_ends_what_runs_and_waits_in_it",
        "test_an_idle_actor_holds_no_cpu_unless_it_asked_for_some",
        "test_an_actor_without_handles_gives_its_resources_back",
        "test_actors_with_a_gpu_each_have_different_ones",
        "test_halves_of_a_gpu_share_it",
        "test_awaiting_does_not_stop_the_loop",
        "test_an_await_may_time_out_and_the_reference_stays_good",
        "test_calls_of_an_async_actor_overlap",
        "test_max_concurrency_bounds_an_async_actor",
        "test_an_async_actor_may_call_itself",
        "test_a_threaded_actor_runs_calls_at_once",
        "test_actors_that_wait_for_each_other_are_told",
        "test_an_actor_that_waits_for_itself_is_told",
        "test_an_event_loop_that_waits_for_its_own_call_is_told",
        "test_actors_that_call_each_other_often_are_told_when_they_wait_in_a_circle",
        "test_an_actor_cancels_a_call_that_it_made",
        "test_asyncio_and_threaded_actors_take_calls_of_actors",
        "test_tasks_that_wait_for_each_other_are_told",
        "test_a_concurrency_group_bounds_its_own_calls_only",
        "test_a_call_may_name_another_group",
        "test_concurrency_groups_bound_an_async_actor_too",
        "test_calls_overtake_a_late_argument_where_the_order_is_free",
        "test_a_call_with_a_late_argument_dies_with_its_actor",
        "test_more_than_max_pending_calls_are_refused",
        "test_a_threaded_call_sees_that_it_was_cancelled",
        "test_calls_of_one_caller_stay_in_order_when_an_argument_is_late",
        "test_a_reference_held_by_a_queued_task_keeps_its_object",
        "test_a_killed_actor_fails_running_waiting_and_later_calls",
        "test_a_waiting_task_is_cancelled_before_it_runs",
        "test_a_task_that_waits_for_an_argument_is_cancelled",
        "test_a_running_task_is_interrupted",
        "test_force_kills_the_worker_of_a_running_task",
        "test_a_cancelled_task_is_not_retried",
        "test_cancel_reaches_the_children",
        "test_the_worker_of_a_cancelled_task_serves_on",
        "test_a_call_of_an_async_actor_is_cancelled_in_its_coroutine",
        "test_a_call_of_an_async_actor_is_cancelled_before_its_turn",
        "test_an_async_actor_that_cancels_all_that_runs_in_it_serves_on",
        "test_calls_of_an_async_actor_are_cancelled_at_any_moment",
        "test_a_call_that_waits_at_an_actor_is_cancelled",
        "test_a_call_of_an_actor_cannot_be_cancelled_by_force",
    ),
    OURS: (
        "test_an_actor_that_ends_in_peace_lets_go_of_what_it_holds",
        "test_a_killed_actor_is_not_shut_down",
        "test_an_async_end_is_awaited",
        "test_an_error_at_the_end_is_no_reason_to_stay",
        "test_a_dead_worker_without_retries_is_an_error_that_says_how_it_died",
        "test_a_dead_worker_is_retried",
        "test_a_worker_that_dies_while_it_reads_its_arguments_is_replaced",
        "test_a_worker_that_dies_while_it_writes_its_result_is_replaced",
        "test_max_retries_bounds_the_attempts",
        "test_an_actor_that_dies_in_each_construction_is_restarted_so_often_and_no_more",
        "test_a_stopped_worker_is_replaced",
        "test_a_stopped_worker_without_retries_is_an_error_that_says_so",
        "test_a_worker_that_is_stopped_for_a_moment_goes_on",
        "test_a_stopped_actor_is_restarted",
        "test_others_do_not_notice_a_dead_worker",
        "test_a_stream_whose_worker_dies_ends_with_the_error",
        "test_a_task_whose_parent_died_is_run_by_the_next_attempt",
        "test_a_crash_without_restarts_is_the_end",
        "test_max_restarts_brings_a_fresh_actor_back",
        "test_max_task_retries_runs_the_lost_call_again",
        "test_calls_waiting_behind_a_crash_run_after_the_restart",
        "test_kill_with_restart_uses_a_restart",
        "test_a_restarted_named_actor_keeps_its_name",
        "test_a_keyboard_interrupt_in_a_task_is_a_cancellation",
        "test_gpus_are_numbered_and_seen_by_cuda",
        "test_cuda_sees_the_gpu_of_the_bundle",
    ),
    NO_PROCESS: (
        "test_workers_of_one_environment_are_used_again_and_never_by_another",
        "test_a_variable_is_there_before_a_library_is_imported",
        "test_a_task_begins_in_a_copy_of_its_working_dir",
        "test_a_working_dir_may_be_an_archive",
        "test_py_modules_can_be_imported",
        "test_a_setup_hook_runs_once_in_each_new_worker",
        "test_a_setup_hook_that_raises_fails_its_tasks_and_actors",
        "test_a_worker_leaves_after_max_calls_of_the_function",
        "test_max_calls_holds_for_many_tasks_at_once",
        "test_a_task_with_a_gpu_has_its_worker_to_itself",
        "test_thread_counts_are_those_of_the_tasks_cpus",
        "test_the_users_thread_counts_win",
        "test_visible_gpus_are_the_tasks_own_and_come_back_after_it",
    ),
    SAME: (
        "test_a_put_value_is_a_snapshot",
        "test_an_argument_is_a_snapshot",
        "test_an_unpicklable_value_is_a_type_error_with_the_path_to_the_culprit",
        "test_an_unpicklable_attribute_is_named",
        "test_an_unpicklable_closure_is_named",
        "test_an_unpicklable_result_is_an_error_of_its_task",
        "test_an_item_that_cannot_be_pickled_is_an_error",
        "test_a_large_array_is_read_without_a_copy_and_read_only",
        "test_a_large_result_and_a_large_argument_are_read_only",
    ),
    HERE: (
        "test_a_reference_in_a_circle_of_the_driver_is_let_go_by_a_collection",
        "test_a_reference_in_a_circle_of_an_actor_is_let_go_by_a_collection",
        "test_an_actor_that_knows_itself_ends_when_nobody_else_does",
        "test_an_actor_that_gives_its_last_handle_away_lives_on",
        "test_an_object_larger_than_the_store_is_refused_with_both_sizes",
        "test_a_result_larger_than_the_store_is_an_error_of_its_task",
        "test_a_store_full_of_arrays_in_use_is_an_error_until_one_is_dropped",
        "test_a_task_whose_arguments_do_not_fit_together_is_an_error",
    ),
    WHOLE: (
        "test_an_item_arrives_before_the_task_has_ended",
        "test_a_producer_that_waits_ends_when_its_stream_is_dropped",
        "test_a_repeated_stream_goes_on_where_it_was",
        "test_next_ready_says_whether_next_would_wait",
        "test_wait_takes_streams_which_are_ready_when_their_next_item_is",
        "test_an_abandoned_stream_ends_its_task",
        "test_the_memory_of_interrupted_streams_comes_back",
        "test_a_stream_can_be_cancelled",
    ),
}


class TestInline(EngineTests):
    engine = "inline"
    cannot: ClassVar[dict[str, str]] = {
        test: reason for reason, tests in EXCUSES.items() for test in tests
    }


def test_every_excuse_is_for_a_test_that_exists() -> None:
    assert [name for name in TestInline.cannot if not hasattr(EngineTests, name)] == []


@pytest.mark.parametrize("key", ["working_dir", "py_modules", "pip", "uv", "py_executable"])
def test_what_needs_a_process_of_its_own_is_refused(key: str, tmp_path: Path) -> None:
    value: Any = str(tmp_path) if key == "working_dir" else [str(tmp_path)]
    env = {key: "python" if key == "py_executable" else value}
    ray.init(engine="inline")
    try:
        with pytest.raises(NotImplementedError, match=rf"(?s){key}.*engine=.local"):
            ray.remote(len).options(runtime_env=env).remote([])
    finally:
        ray.shutdown()
    with pytest.raises(NotImplementedError, match=key):
        ray.init(engine="inline", runtime_env=env)
    assert not ray.is_initialized()


@pytest.mark.parametrize("how", ["exit_actor", "terminate", "kill"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_actor_that_ends_in_peace_is_shut_down(
    how: str, asynchronous: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []

    class Ends:
        def leave(self) -> None:
            ray.actor.exit_actor()

        def __ray_shutdown__(self) -> None:
            lines.append(f"shutdown {bool(ray.get_runtime_context().get_actor_id())}")
            raise ValueError("no")

        def __del__(self) -> None:
            lines.append("del")

    class AsyncEnds(Ends):
        async def __ray_shutdown__(self) -> None:  # type: ignore[override]
            super().__ray_shutdown__()

    ray.init(engine="inline")
    try:
        actor: Any = ray.remote(AsyncEnds if asynchronous else Ends).remote()
        if how == "kill":
            ray.kill(actor)
        else:
            call = actor.leave if how == "exit_actor" else actor.__ray_terminate__
            with pytest.raises(ray.exceptions.RayActorError):
                ray.get(call.remote())
    finally:
        ray.shutdown()
    gc.collect()  # what an event loop has run is in a circle
    assert lines == (["del"] if how == "kill" else ["shutdown True", "del"])
    assert ("ValueError: no" in capsys.readouterr().err) == (how != "kill")
