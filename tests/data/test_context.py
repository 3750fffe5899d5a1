"""Knobs, limits and options of executions."""

import math
import threading

import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data import DataContext, ExecutionOptions, ExecutionResources
from heliostat.data._execute import Execution, Flying
from heliostat.data._messages import ActorReady, BlockReady, Launch, StartActor, Wanted
from heliostat.data._optimize import Stage
from heliostat.data._pipeline import Pipeline
from heliostat.data._plan import Actors, MapRows, Read, Tasks, Udf
from heliostat.data.block import Bundle
from heliostat.data.context import ShuffleStrategy
from heliostat.data.datasource.range import RangeSource
from heliostat.data.exceptions import ExecutionTimeoutError
from heliostat.data.executions import ExecutionCallback


@pytest.fixture
def options(inline):
    context = DataContext.get_current()
    before = context.execution_options
    context.execution_options = ExecutionOptions()
    yield context.execution_options
    context.execution_options = before


def bundles(number):
    return tuple(Bundle.of(pa.table({"a": [one]})) for one in range(number))


def test_no_more_tasks_are_in_flight_than_the_limit_over_all_stages():
    steps = (MapRows(Udf(abs), Tasks()),)
    first = Stage("first", Tasks(), steps=steps, source=bundles(12))
    second = Stage("second", Actors(1, 2, 1), steps=steps, inputs=(0,))
    pipeline = Pipeline([first, second], 1 << 30, 8, max_running=2)
    waiting = list(pipeline.handle(Wanted(99), now=0.0))
    most = 0
    running = []
    while waiting:
        command = waiting.pop(0)
        if isinstance(command, StartActor):
            waiting += pipeline.handle(ActorReady(command.stage, command.actor), now=0.0)
        elif isinstance(command, Launch):
            running.append(command)
        most = max(most, len(running))
        if not waiting and running:
            one = running.pop(0)
            made = tuple(item for item in one.items)
            done = BlockReady(one.stage, one.task, one.attempt, made, 0.0)
            waiting += pipeline.handle(done, now=0.0)
        pipeline.check()
    assert pipeline.over
    assert most == 2


def test_a_limit_of_cpus_reaches_the_tasks(options):
    options.resource_limits = ExecutionResources(cpu=1)
    assert options.task_limit(4) == 1
    assert ray.data.range(8, override_num_blocks=8).map(lambda row: row).count() == 8


def test_excluded_cpus_are_left_to_others():
    options = ExecutionOptions(exclude_resources=ExecutionResources(cpu=3))
    assert options.task_limit(4) == 1
    assert options.task_limit(2) == 1
    assert ExecutionOptions().task_limit(4) is None


def test_a_limit_of_memory_is_the_budget():
    options = ExecutionOptions(ExecutionResources(object_store_memory=100))
    assert options.budget(1000) == 100
    assert options.budget(10) == 10
    assert ExecutionOptions().budget(1000) == 1000


def test_what_is_not_offered_is_refused():
    with pytest.raises(NotImplementedError, match="gpu=1"):
        ExecutionOptions(ExecutionResources(gpu=1))
    with pytest.raises(NotImplementedError, match="exclude_resources of memory=5"):
        ExecutionOptions(exclude_resources=ExecutionResources(memory=5))
    with pytest.raises(TypeError, match="must be ExecutionResources"):
        ExecutionOptions({"CPU": 1})
    with pytest.raises(ValueError, match="cpu must be >= 0"):
        ExecutionResources(cpu=-1)


def test_labels_are_asked_of_every_task(options):
    options.label_selector = {"zone": "nowhere"}
    with pytest.raises(Exception, match="nowhere"):
        ray.data.range(8, override_num_blocks=8).map(lambda row: row).take_all()


def test_resources_are_values():
    one = ExecutionResources.from_resource_dict({"CPU": 2, "memory": 5})
    assert one == ExecutionResources(cpu=2, memory=5)
    assert one.copy(cpu=3).to_resource_dict() == {
        "CPU": 3,
        "GPU": 0.0,
        "object_store_memory": 0,
        "memory": 5,
    }
    assert ExecutionResources.inf().cpu == math.inf
    assert ExecutionOptions(None).resource_limits == ExecutionResources.inf()
    assert ExecutionOptions(exclude_resources=None).exclude_resources.cpu == 0.0


def test_a_copy_of_the_context_has_options_of_its_own(options):
    context = DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    assert not options.preserve_order


def test_progress_may_be_of_the_last_stage_only(options, monkeypatch):
    from contextlib import contextmanager

    from heliostat.util import progress

    monkeypatch.setenv("HELIOSTAT_PROGRESS", "1")  # so that it is not known to be silent
    shown = []

    @contextmanager
    def line(name, **_):
        shown.append(name)
        yield progress_line

    class Line:
        def update(self, rows):
            pass

    progress_line = Line()
    monkeypatch.setattr(progress, "line", line)
    ds = ray.data.range(8).map(lambda row: row).random_shuffle()
    ds.take_all()
    whole = len(shown)
    options.verbose_progress = False
    shown.clear()
    ds.take_all()
    assert len(shown) == 1 < whole


def test_there_is_one_context_and_copies_are_apart():
    context = DataContext.get_current()
    assert DataContext.get_current() is context
    copy = context.copy()
    copy.target_max_block_size = 1
    assert context.target_max_block_size == 128 << 20


def test_a_knob_that_does_not_exist_cannot_be_set():
    with pytest.raises(AttributeError):
        DataContext.get_current().no_such_knob = 1


@pytest.fixture
def context(inline, monkeypatch):
    """A context of its own, so that what a test sets ends with it."""
    mine = DataContext()
    monkeypatch.setattr(DataContext, "_current", mine)
    return mine


def failing(times, error=ValueError):
    """A function of rows that fails so many times, and then no more."""
    left = [times]

    def function(row):
        if left[0]:
            left[0] -= 1
            raise error("the model dozed off")
        return row

    return function


def one_task(fn):
    return ray.data.range(1).map_batches(fn)


def test_errors_of_functions_are_tried_again_as_often_as_said(context):
    with pytest.raises(ValueError, match="dozed"):
        one_task(failing(1)).count()
    context.retried_map_errors, context.max_map_retries = True, 2
    assert one_task(failing(2)).count() == 1
    with pytest.raises(ValueError, match="dozed"):
        one_task(failing(3)).count()


@pytest.mark.parametrize(
    ("patterns", "again"), [(["dozed"], True), (["d.z+ed"], True), (["x"], False)]
)
def test_only_errors_that_are_named_are_tried_again(context, patterns, again):
    context.retried_map_errors, context.max_map_retries = patterns, 1
    if again:
        assert one_task(failing(1)).count() == 1
    else:
        with pytest.raises(ValueError, match="dozed"):
            one_task(failing(1)).count()


def test_pools_try_errors_of_named_classes_again(context):
    class Model:
        def __init__(self):
            self.function = failing(1)

        def __call__(self, batch):
            return self.function(batch)

    rows = ray.data.range(1).map_batches(Model, concurrency=1)
    context.actor_task_retry_on_errors = [KeyError]
    with pytest.raises(ValueError, match="dozed"):
        rows.count()
    context.actor_task_retry_on_errors = [ValueError]
    assert rows.count() == 1


def test_a_constructor_that_fails_is_called_again_if_said(context):
    left = [2]

    class Model:
        def __init__(self):
            if left[0]:
                left[0] -= 1
                raise OSError("no weights yet")

        def __call__(self, batch):
            return batch

    rows = ray.data.range(1).map_batches(Model, concurrency=1)
    with pytest.raises(OSError, match="no weights yet"):
        rows.count()
    left[0] = 2
    context.actor_init_retry_on_errors = True
    assert rows.count() == 1


def test_what_a_function_raised_comes_bare_if_said(context):
    context.raise_original_map_exception = True
    with pytest.raises(ValueError, match="dozed") as caught:
        one_task(failing(1)).count()
    assert type(caught.value) is ValueError


def test_callbacks_are_told_of_an_execution(context):
    told = []

    class Told(ExecutionCallback):
        def before_execution_starts(self, executor):
            told.append(len(executor.stages))

        def on_execution_step(self, executor):
            told.append("step")

        def after_execution_succeeds(self, executor):
            told.append(executor.stats.stages[-1].rows_out)

        def after_execution_fails(self, executor, error):
            told.append(type(error))

    context.custom_execution_callback_classes = [Told]
    assert one_task(lambda batch: batch).count() == 1
    assert told[0] == 2
    assert told[-1] == 1
    assert set(told[1:-1]) == {"step"}
    told.clear()
    with pytest.raises(ValueError, match="dozed"):
        one_task(failing(1)).count()
    assert issubclass(told[-1], ValueError)


def test_stats_and_the_beginning_are_logged_if_said(context, caplog):
    context.enable_auto_log_stats = context.print_on_execution_start = True
    with caplog.at_level("INFO", logger="heliostat.data"):
        one_task(lambda batch: batch).count()
    assert "execution starts: MapBatches" in caplog.messages[0] or "Range" in caplog.messages[0]
    assert "1 rows" in caplog.text


def test_readers_make_as_many_blocks_as_the_context_says(context, tmp_path):
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text("a\n")
    context.read_op_min_num_blocks = 2
    assert ray.data.read_text(str(tmp_path)).materialize().num_blocks() == 2
    assert ray.data.read_text(str(tmp_path), override_num_blocks=4).materialize().num_blocks() == 4


def test_pools_take_the_contexts_number_of_waiting_blocks(context):
    assert ray.data.ActorPoolStrategy().max_tasks_in_flight_per_actor == 2
    context.max_tasks_in_flight_per_actor = 5
    assert ray.data.ActorPoolStrategy().max_tasks_in_flight_per_actor == 5


def test_a_dataset_may_have_knobs_of_its_own(context):
    """They are for it and what is made of it from then on, and for nobody else."""

    def failing(row):
        if row["id"] == 1:
            raise ValueError
        return row

    other = ray.data.range(3)
    mine = ray.data.range(3)
    mine.context.on_error = "skip"
    assert mine.context is mine.context
    assert mine.iterator().get_context() is mine.context
    assert context.on_error == "raise"
    assert [row["id"] for row in mine.map(failing).take_all()] == [0, 2]
    with pytest.raises(Exception, match="ValueError"):
        other.map(failing).take_all()
    kept = mine.materialize()
    assert kept.context is mine.context
    assert [row["id"] for row in kept.map(failing).take_all()] == [0, 2]
    assert mine.groupby("id").count().context is mine.context


def test_knobs_of_a_dataset_reach_its_functions_and_its_pieces(context):
    dataset = ray.data.range(4)
    dataset.context.set_config("factor", 3)

    def times(row):
        return {"id": row["id"] * DataContext.get_current().get_config("factor", 1)}

    found = dataset.map(times)
    assert [row["id"] for row in found.take_all()] == [0, 3, 6, 9]
    whole = [row["id"] for one in found.streaming_split(2) for row in one.iter_rows()]
    assert sorted(whole) == [0, 3, 6, 9]
    assert context.get_config("factor") is None


def test_pools_of_a_dataset_take_its_number_of_waiting_blocks(context):
    dataset = ray.data.range(4)
    dataset.context.max_tasks_in_flight_per_actor = 7
    for pool in (
        dataset.map(Good, concurrency=1),
        dataset.map_batches(Good, concurrency=1),
        dataset.flat_map(Good, concurrency=1),
        dataset.filter(Good, concurrency=1),
        dataset.groupby("id").map_groups(Good, concurrency=1),
    ):
        assert pool._plan.step.place.in_flight == 7
    asked = ray.data.ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=3)
    assert dataset.map(Good, compute=asked)._plan.step.place.in_flight == 3


class Good:
    def __call__(self, row):
        return row


def test_a_context_for_a_while_is_that_of_its_thread(context):
    mine = context.copy()
    seen = []
    with mine.adopted():
        assert DataContext.get_current() is mine
        thread = threading.Thread(target=lambda: seen.append(DataContext.get_current()))
        thread.start()
        thread.join()
    assert seen[0] is context
    assert DataContext.get_current() is context


def test_what_the_context_says_later_is_for_datasets_that_have_no_own(context):
    dataset = ray.data.range(4)
    context.read_op_min_num_blocks = 2
    assert dataset.context.read_op_min_num_blocks == 2
    context.read_op_min_num_blocks = 3
    assert dataset.context.read_op_min_num_blocks == 2


def test_rays_own_knobs_are_kept_and_said_once_to_turn_nothing(context, caplog):
    assert context.use_push_based_shuffle is False
    context.use_push_based_shuffle = True
    context.use_push_based_shuffle = True
    context.shuffle_strategy = ShuffleStrategy.HASH_SHUFFLE
    assert context.use_push_based_shuffle is True
    assert context.copy().shuffle_strategy is ShuffleStrategy.HASH_SHUFFLE
    assert [message.split()[0] for message in caplog.messages] == [
        "DataContext.use_push_based_shuffle",
        "DataContext.shuffle_strategy",
    ]


def test_an_unknown_knob_is_refused_with_those_there_are(context):
    with pytest.raises(
        AttributeError, match=r"no 'target_max_blok_size'; it has .*target_max_block"
    ):
        context.target_max_blok_size = 1
    with pytest.raises(AttributeError, match="no 'autoscaling_config'"):
        _ = context.autoscaling_config


def test_configs_of_users_reach_functions_in_workers(monkeypatch):
    monkeypatch.setattr(DataContext, "_current", DataContext())
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    DataContext.get_current().set_config("factor", 3)
    DataContext.get_current().set_config("gone", 1)
    DataContext.get_current().remove_config("gone")

    def times(row):
        context = DataContext.get_current()
        assert context.get_config("gone", 7) == 7
        return {"id": row["id"] * context.get_config("factor")}

    with ray.init(num_cpus=1):
        assert ray.data.range(3).map(times).take_all() == [{"id": 0}, {"id": 3}, {"id": 6}]
        DataContext.get_current().execution_no_progress_timeout_s = 0.2
        with pytest.raises(ExecutionTimeoutError, match=r"no task ended for 0.2 s: .*Map"):
            ray.data.range(1).map(stuck).take_all()
        DataContext.get_current().execution_no_progress_timeout_s = -1
        DataContext.get_current().wait_for_min_actors_s = 0.2
        with pytest.raises(ray.exceptions.GetTimeoutError, match=r"too few actors after 0.2 s"):
            ray.data.range(1).map(Stuck, concurrency=1).take_all()


def stuck(row):
    threading.Event().wait()


class Stuck:
    def __init__(self):
        threading.Event().wait()

    def __call__(self, row):
        return row


def test_a_pool_that_has_what_it_needs_may_wait_for_more_as_long_as_it_likes(context):
    execution = Execution(Read(RangeSource(1, 1), None), context)
    step = MapRows(Udf(Stuck), Actors(1, 2, 2))
    execution.stages = (Stage("pool", step.place, (step,)),)
    execution._actors = {(0, 0): None, (0, 1): None}
    execution._pending = {"first": Flying(0, -1, 0, 0), "second": Flying(0, -1, 0, 1)}
    assert execution._short_pools() == [0]
    del execution._pending["first"]
    assert execution._short_pools() == []


def test_a_share_of_the_store_is_the_budget(context):
    context.override_object_store_memory_limit_fraction = 0.5
    store = ray.cluster_resources()["object_store_memory"]
    execution = Execution(Read(RangeSource(1, 1), None), context)
    assert execution._memory_bytes == int(store * 0.5)


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("max_map_retries", -1, 0),
        ("max_tasks_in_flight_per_actor", 0, 1),
        ("read_op_min_num_blocks", -3, 1),
        ("max_errored_blocks", -2, -1),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_where_it_is_set(context, name, value, least):
    with pytest.raises(ValueError, match=f"{name} must be >= {least}, got {value}"):
        setattr(context, name, value)


def test_one_text_of_errors_is_a_text_and_need_be_no_regular_expression(context):
    context.retried_map_errors, context.max_map_retries = "dozed (", 1
    assert context.retried_map_errors == ("dozed (",)
    with pytest.raises(ValueError, match="dozed"):
        one_task(failing(1)).count()


class Unpicklable(ExecutionCallback):
    told = ()
    lock = threading.Lock()

    def before_execution_starts(self, executor):
        with self.lock:
            Unpicklable.told = ("begun",)

    def after_execution_succeeds(self, executor):
        Unpicklable.told += ("ended",)


def test_a_worker_has_the_context_for_one_task_and_callbacks_stay_here(monkeypatch):
    context = DataContext(on_error="skip", custom_execution_callback_classes=[Unpicklable])
    monkeypatch.setattr(DataContext, "_current", context)
    Unpicklable.__module__ = "__main__"  # so that it would travel by value
    with ray.init(num_cpus=1):
        rows = ray.data.range(100).map(lambda row: row).iter_rows()
        next(rows)
        rows.close()
        # A consumer that wants no more has had what it wanted.
        assert Unpicklable.told == ("begun", "ended")
        said = ray.remote(lambda: DataContext.get_current().on_error)
        assert ray.get(said.remote()) == "raise"


def test_what_is_asked_to_be_said_is_said_without_a_log(context, capsys):
    context.print_on_execution_start = context.enable_auto_log_stats = True
    one_task(lambda batch: batch).count()
    said = capsys.readouterr().err
    assert "execution starts: " in said
    assert "1 rows" in said


RAYS_MACHINERY = """
accurate_map_phase_timing actor_prefetcher_enabled batch_to_block_arrow_format dataset_logger_id
decoding_size_estimation default_map_logical_memory_enabled downstream_capacity_backpressure_ratio
enable_dynamic_output_queue_size_backpressure enable_get_object_locations_for_metrics
enable_pandas_block enable_per_node_metrics hash_shuffle_reduce_batch_size isolate_read_workers
join_operator_actor_num_cpus_override large_args_threshold max_hash_shuffle_aggregators
memory_usage_poll_interval_s min_hash_shuffle_aggregator_wait_time_in_s per_stage_map_timing
scheduling_strategy scheduling_strategy_large_args shuffle_compression shuffle_input_batch_bytes
streaming_read_buffer_size use_datasource_v2 use_disk_based_hash_shuffle
warn_on_driver_memory_usage_bytes
"""


@pytest.mark.parametrize("name", RAYS_MACHINERY.split())
def test_programs_may_set_rays_knobs_for_its_own_machinery(context, name):
    setattr(context, name, getattr(context, name))


def test_an_option_of_executions_that_does_not_exist_cannot_be_set(options):
    options.locality_with_output = True
    with pytest.raises(AttributeError, match=r"no 'resource_limit'; they have \['resource_limits'"):
        options.resource_limit = ExecutionResources(cpu=1)
