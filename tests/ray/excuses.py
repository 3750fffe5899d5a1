"""Tests of the shared suite that a Ray cluster does not pass, each with its line in docs/scale_out.md."""

RAYS_WORDS = "`WorkerCrashedError` does not name the signal or exit code"
STOPPED = "a process that is stopped (SIGSTOP) is waited for"
CIRCLES = "tasks and actors that wait for each other in a circle wait for ever"
CRASHES = "a task that waits for an argument is better not cancelled"
WIDE = "a task or bundle has at most what one node has, and GPUs are numbered on each node"
LISTED = "what has run is in `heliostat.util.state` some time later"
LATE = "calls made at once after `kill`, `cancel` or a crash may still be answered"
BY_ITS_END = "items yielded just before a worker dies may be lost with it"
NAMED_BY_ADDRESS = "the resource `node:127.0.0.1` is not there"
HOOKS = "`worker_process_setup_hook` of a task or actor is refused; that of `init` works"
ITS_OWN = "`${NAME}` in a variable of a `runtime_env` is that of the node, not of the driver"
THREADS = "only `OMP_NUM_THREADS` is set to a task's CPUs"
WORDS = "some errors have other words, and an actor's threads other names"
STREAMS = "a stream is read in the process that asked for it, and once"
RESULT = "what a threaded call raises when it sees that it was cancelled is its result"
UNTAKEN = "a task whose stream nobody takes runs on, and one that waits for its taker keeps its CPU"
STORE = (
    "a store has at least 75 MB, and what does not fit lies on disk where it would be an "
    "ObjectStoreFullError"
)
WHOLE = "more than one of a resource is a whole number"
OWNED = "a value goes with the worker that has put it there or has asked for it"
LAST = (
    "an actor ends with the handles that its maker has passed on, also where others were "
    "found by its name or given away by itself"
)
ALONE = "`ObjectRef.from_hex` finds nothing in another process"
IN_NO_ORDER = "which of a node's GPUs a task gets first is not ours to say"
ANY_NODE = "`get_node_id` differs from task to task"
ANY_WORKER = "tasks of one `runtime_env` need not find the worker of the one before"

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
    IN_NO_ORDER: (
        "test_gpus_are_called_what_the_drivers_environment_calls_them",
        "test_visible_gpus_are_the_tasks_own_and_come_back_after_it",
    ),
    ANY_WORKER: ("test_workers_of_one_environment_are_used_again_and_never_by_another",),
    ANY_NODE: ("test_code_knows_its_identifiers",),
    NAMED_BY_ADDRESS: ("test_the_machine_has_memory_and_names",),
}
