"""Knobs, limits and options of executions."""

import math

import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data import DataContext, ExecutionOptions, ExecutionResources
from heliostat.data._messages import ActorReady, BlockReady, Launch, StartActor, Wanted
from heliostat.data._optimize import Stage
from heliostat.data._pipeline import Pipeline
from heliostat.data._plan import Actors, MapRows, Tasks, Udf
from heliostat.data.block import Bundle


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
