"""The decider of Data: order, bounds, limits, retries; then a machine that tries everything."""

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from heliostat.data._failures import OnError, Retries
from heliostat.data._messages import (
    ActorLost,
    ActorReady,
    BlockReady,
    Cancel,
    Emit,
    Fail,
    Finish,
    Launch,
    StartActor,
    StopActor,
    TaskFailed,
    Wanted,
)
from heliostat.data._optimize import Stage
from heliostat.data._pipeline import MAX_ATTEMPTS, Pipeline
from heliostat.data._plan import Actors, Filter, Here, Limit, MapBatches, MapRows, Tasks, Udf
from heliostat.data.block import Bundle

CRASH = RuntimeError("the worker died")
ALL = 1 << 30


def bundle(start, rows):
    return Bundle.of(pa.table({"id": range(start, start + rows)}))


def rows_of(bundles):
    return [row for one in bundles for row in one.table().column(0).to_pylist()]


def udf(place=None, batch_size=None):
    return MapBatches(Udf(abs), place or Tasks(), batch_size, "numpy", False)


def worker(*, source=(), inputs=(), **options):
    steps = options.pop("steps", (udf(),))
    place = options.pop("place", Tasks())
    return Stage("f", place, steps=steps, source=source, inputs=inputs, **options)


def nulls(**options):
    """A stage in which a row that fails becomes a row of nulls."""
    return worker(
        steps=(MapRows(Udf(abs, on_error=OnError("null")), Tasks()),), survives=True, **options
    )


def failed(launch):
    """All rows of a launch failed, so that the task knows no columns but those that it took."""
    rows = sum(item.rows for item in launch.items)
    made = (Bundle.of(pa.table({"taken": pa.nulls(rows)})),)
    return BlockReady(launch.stage, launch.task, launch.attempt, made, failed=rows)


def launches(commands):
    return [command for command in commands if isinstance(command, Launch)]


def emitted(commands):
    return [command.bundle for command in commands if isinstance(command, Emit)]


def done(launch, bundles=None):
    """The task of a launch made what it took."""
    made = tuple(launch.items) if bundles is None else bundles
    return BlockReady(launch.stage, launch.task, launch.attempt, made)


def test_blocks_leave_in_order_whatever_order_the_tasks_end_in():
    source = tuple(bundle(10 * part, 10) for part in range(3))
    pipeline = Pipeline([worker(source=source)], ALL, 8)
    first, second, third = launches(pipeline.handle(Wanted(9), 0.0))
    assert emitted(pipeline.handle(done(third), 0.0)) == []
    assert emitted(pipeline.handle(done(second), 0.0)) == []
    out = pipeline.handle(done(first), 0.0)
    assert rows_of(emitted(out)) == list(range(30))
    assert isinstance(out[-1], Finish)


def test_nothing_is_emitted_that_is_not_wanted():
    pipeline = Pipeline([Stage("Blocks", Here(), source=(bundle(0, 1), bundle(1, 1)))], ALL, 1)
    assert len(emitted(pipeline.handle(Wanted(1), 0.0))) == 1
    out = pipeline.handle(Wanted(1), 0.0)
    assert len(emitted(out)) == 1
    assert isinstance(out[-1], Finish)


def test_a_consumer_that_takes_nothing_stops_the_source():
    source = tuple(bundle(part, 1) for part in range(100))
    size = source[0].size_bytes
    pipeline = Pipeline([worker(source=source)], 6 * size, 50)
    waiting = launches(pipeline.handle(Wanted(0), 0.0))
    made = 0
    while waiting:
        waiting += launches(pipeline.handle(done(waiting.pop(0)), 0.0))
        made += 1
    assert 1 <= made <= 6
    assert launches(pipeline.handle(Wanted(3), 0.0))


def test_a_block_larger_than_the_budget_still_goes_through():
    pipeline = Pipeline([worker(source=(bundle(0, 1000),))], 1, 4)
    [launch] = launches(pipeline.handle(Wanted(1), 0.0))
    assert emitted(pipeline.handle(done(launch), 0.0))
    assert pipeline.over


def test_a_block_is_cut_into_pieces_for_user_code_only():
    block = bundle(0, 100)
    cut = Pipeline([worker(source=(block,), pieces=4)], ALL, 8)
    assert [launch.items[0].rows for launch in launches(cut.handle(Wanted(9), 0.0))] == [25] * 4
    whole = Pipeline([worker(source=(block,), pieces=4, steps=(Limit(200),))], ALL, 8)
    assert [launch.items[0].rows for launch in launches(whole.handle(Wanted(9), 0.0))] == [100]


def test_batches_of_a_given_size_are_never_torn_between_tasks():
    source = tuple(bundle(start, rows) for start, rows in [(0, 7), (7, 1), (8, 13), (21, 4)])
    stage = worker(source=source, pieces=2, steps=(udf(batch_size=5),), batch_rows=5)
    found = launches(Pipeline([stage], ALL, 50).handle(Wanted(9), 0.0))
    assert rows_of([item for launch in found for item in launch.items]) == list(range(25))
    assert all(sum(item.rows for item in one.items) % 5 == 0 for one in found)


def test_a_batch_larger_than_the_budget_is_gathered_and_runs():
    blocks = tuple(bundle(10 * part, 10) for part in range(10))
    first = Stage("Blocks", Here(), source=blocks)
    second = worker(inputs=(0,), steps=(udf(batch_size=100),), batch_rows=100)
    pipeline = Pipeline([first, second], 1, 4)
    [launch] = launches(pipeline.handle(Wanted(1), 0.0))
    assert sum(item.rows for item in launch.items) == 100


def test_a_gathering_stage_waits_for_all_blocks_and_gets_them_in_order():
    source = tuple(bundle(part, 1) for part in range(3))
    stages = [worker(source=source), Stage("Shuffle", Here(), steps=(), inputs=(0,), gather=True)]
    stages[1] = Stage("Shuffle", Here(), steps=(Limit(99),), inputs=(0,), gather=True)
    pipeline = Pipeline(stages, 1, 8)
    running = launches(pipeline.handle(Wanted(1), 0.0))
    gathered = []
    while running:
        found = launches(pipeline.handle(done(running.pop()), 0.0))
        gathered += [one for one in found if one.stage == 1]
        running += [one for one in found if one.stage == 0]
    assert rows_of(gathered[0].items) == [0, 1, 2]


def test_a_union_gives_the_first_input_whole_before_the_second():
    left = worker(source=(bundle(0, 1), bundle(1, 1)))
    right = worker(source=(bundle(2, 1),))
    pipeline = Pipeline([left, right, Stage("Union", Here(), inputs=(0, 1))], ALL, 8)
    running = launches(pipeline.handle(Wanted(9), 0.0))
    out = [command for launch in reversed(running) for command in pipeline.handle(done(launch), 0)]
    assert rows_of(emitted(out)) == [0, 1, 2]


def test_a_reached_limit_cancels_what_works_for_it():
    source = tuple(bundle(10 * part, 10) for part in range(4))
    stages = [
        worker(source=source),
        worker(inputs=(0,), steps=(Filter(Udf(bool), Tasks()), Limit(5)), limit=5),
    ]
    pipeline = Pipeline(stages, ALL, 3)
    first, *others = launches(pipeline.handle(Wanted(9), 0.0))
    [second] = [one for one in launches(pipeline.handle(done(first), 0.0)) if one.stage == 1]
    out = pipeline.handle(done(second), 0.0)
    assert rows_of(emitted(out)) == [0, 1, 2, 3, 4]
    cancelled = {command.task for command in out if isinstance(command, Cancel)}
    assert {one.task for one in others} <= cancelled
    assert isinstance(out[-1], Finish)


def test_a_limit_starts_no_more_tasks_than_it_needs():
    source = tuple(bundle(10 * part, 10) for part in range(4))
    stage = worker(source=source, steps=(MapRows(Udf(abs), Tasks()), Limit(15)), limit=15)
    assert len(launches(Pipeline([stage], ALL, 9).handle(Wanted(9), 0.0))) == 2


def test_a_limit_of_zero_runs_nothing():
    pipeline = Pipeline([worker(source=(bundle(0, 9),), limit=0)], ALL, 9)
    assert [type(command) for command in pipeline.handle(Wanted(1), 0.0)] == [Finish]


def test_a_crashed_task_is_tried_again_and_late_news_of_it_is_dropped():
    pipeline = Pipeline([worker(source=(bundle(0, 3),))], ALL, 1)
    [launch] = launches(pipeline.handle(Wanted(1), 0.0))
    [again] = launches(pipeline.handle(TaskFailed(0, 0, 0, CRASH, True), 0.0))
    assert (again.task, again.attempt, again.items) == (0, 1, launch.items)
    assert pipeline.handle(done(launch), 0.0) == []
    assert rows_of(emitted(pipeline.handle(done(again), 0.0))) == [0, 1, 2]
    assert pipeline.stages[0].retries == 1


def test_a_function_that_raises_is_tried_again_as_often_as_said_and_never_here():
    said = Retries(errors=("dozed",), most=2)
    error = ValueError("it dozed off")
    pipeline = Pipeline([worker(source=(bundle(0, 3),))], ALL, 1, retries=said)
    pipeline.handle(Wanted(1), 0.0)
    for attempt in range(2):
        [again] = launches(pipeline.handle(TaskFailed(0, 0, attempt, error, False), 0.0))
        assert again.attempt == attempt + 1
        pipeline.check()
    assert pipeline.handle(TaskFailed(0, 0, 2, error, False), 0.0) == [Fail(error)]
    here = Stage("native", Here(), steps=(Limit(9),), source=(bundle(0, 3),))
    pipeline = Pipeline([here], ALL, 1, retries=said)
    pipeline.handle(Wanted(1), 0.0)
    assert pipeline.handle(TaskFailed(0, 0, 0, error, False), 0.0) == [Fail(error)]


def test_a_task_that_crashes_every_time_fails_the_run():
    pipeline = Pipeline([worker(source=(bundle(0, 3),))], ALL, 1)
    out = pipeline.handle(Wanted(1), 0.0)
    for attempt in range(MAX_ATTEMPTS):
        assert not pipeline.over
        out = pipeline.handle(TaskFailed(0, 0, attempt, CRASH, True), 0.0)
    assert out == [Fail(CRASH)]


def test_an_error_of_the_user_fails_the_run_at_once_and_cancels_the_rest():
    error = ValueError("theirs")
    pipeline = Pipeline([worker(source=(bundle(0, 1), bundle(1, 1)))], ALL, 2)
    pipeline.handle(Wanted(1), 0.0)
    assert pipeline.handle(TaskFailed(0, 0, 0, error, False), 0.0) == [Cancel(0, 1, 0), Fail(error)]
    assert pipeline.handle(Wanted(1), 0.0) == []


def pool(minimum, maximum=None, in_flight=2):
    return Actors(minimum, maximum or minimum, minimum, in_flight)


def test_only_actors_that_are_ready_get_work_and_a_finished_pool_is_stopped():
    source = (bundle(0, 1), bundle(1, 1), bundle(2, 1))
    pipeline = Pipeline([worker(source=source, place=pool(2), steps=(udf(pool(2)),))], ALL, 9)
    out = pipeline.handle(Wanted(9), 0.0)
    assert out == [StartActor(0, 0), StartActor(0, 1)]
    found = launches(pipeline.handle(ActorReady(0, 1), 0.0))
    assert [launch.actor for launch in found] == [1, 1]
    found += launches(pipeline.handle(ActorReady(0, 0), 0.0))
    assert [launch.actor for launch in found] == [1, 1, 0]
    out = [command for launch in found for command in pipeline.handle(done(launch), 0.0)]
    assert [command for command in out if isinstance(command, StopActor)] == [
        StopActor(0, 0),
        StopActor(0, 1),
    ]


def test_a_pool_grows_to_its_maximum_while_there_is_work():
    source = tuple(bundle(part, 1) for part in range(9))
    place = pool(1, 3, in_flight=1)
    pipeline = Pipeline([worker(source=source, place=place, steps=(udf(place),))], ALL, 9)
    pipeline.handle(Wanted(9), 0.0)
    assert StartActor(0, 1) in pipeline.handle(ActorReady(0, 0), 0.0)
    assert StartActor(0, 2) in pipeline.handle(ActorReady(0, 1), 0.0)
    out = pipeline.handle(ActorReady(0, 2), 0.0)
    assert not [command for command in out if isinstance(command, StartActor)]


def test_the_work_of_a_dead_actor_goes_to_its_replacement():
    source = (bundle(0, 1), bundle(1, 1))
    pipeline = Pipeline([worker(source=source, place=pool(1), steps=(udf(pool(1)),))], ALL, 9)
    pipeline.handle(Wanted(9), 0.0)
    before = launches(pipeline.handle(ActorReady(0, 0), 0.0))
    assert pipeline.handle(ActorLost(0, 0, CRASH, True), 0.0) == [StartActor(0, 1)]
    assert pipeline.handle(TaskFailed(0, 0, 0, CRASH, True), 0.0) == []
    after = launches(pipeline.handle(ActorReady(0, 1), 0.0))
    # One by one: nobody knows which of them the actor has died of.
    assert [(one.task, one.attempt, one.actor) for one in after] == [(0, 1, 1)]
    after += launches(pipeline.handle(done(after[0]), 0.0))
    assert [(one.task, one.attempt, one.actor) for one in after[1:]] == [(1, 1, 1)]
    assert [one.items for one in after] == [one.items for one in before]


def test_an_actor_that_cannot_be_built_fails_the_run():
    pipeline = Pipeline([worker(source=(bundle(0, 1),), place=pool(1))], ALL, 9)
    pipeline.handle(Wanted(9), 0.0)
    error = ValueError("no model")
    assert pipeline.handle(ActorLost(0, 0, error, False), 0.0)[-1] == Fail(error)


def test_a_pool_whose_actors_all_die_while_they_are_built_fails_the_run():
    place = pool(1)
    stage = worker(source=(bundle(0, 1),), place=place, steps=(udf(place),), survives=True)
    pipeline = Pipeline([stage], ALL, 9)
    pipeline.handle(Wanted(9), 0.0)
    for number in range(MAX_ATTEMPTS - 1):
        out = pipeline.handle(ActorLost(0, number, CRASH, True), 0.0)
        assert out == [StartActor(0, number + 1)]
    assert pipeline.handle(ActorLost(0, number + 1, CRASH, True), 0.0)[-1] == Fail(CRASH)


def test_blocks_without_rows_are_not_passed_on_but_their_columns_are_known():
    pipeline = Pipeline([worker(source=(bundle(0, 1),))], ALL, 1)
    [launch] = launches(pipeline.handle(Wanted(1), 0.0))
    out = pipeline.handle(done(launch, (bundle(0, 0),)), 0.0)
    assert [type(command) for command in out] == [Finish]
    assert out[0].schema.names == ["id"]


def names_of(bundles):
    return [one.schema.names for one in bundles]


def test_nulls_wait_for_their_columns_as_long_as_something_may_say_them():
    pipeline = Pipeline([nulls(source=tuple(bundle(part, 1) for part in range(4)))], ALL, 2)
    first, second = launches(pipeline.handle(Wanted(9), 0.0))
    out = pipeline.handle(failed(first), 0.0)
    assert emitted(out) == []
    out += pipeline.handle(failed(second), 0.0)
    third, fourth = launches(out)
    out = pipeline.handle(done(fourth), 0.0)
    assert names_of(emitted(out)) == [["id"], ["id"]]
    out = pipeline.handle(failed(third), 0.0)
    assert names_of(emitted(out)) == [["id"], ["id"]]


def test_nulls_of_which_nobody_knows_the_columns_go_on_in_the_end():
    # A budget that holds no second task is one more reason not to wait.
    for budget in (ALL, 1):
        pipeline = Pipeline([nulls(source=(bundle(0, 1), bundle(1, 1)))], budget, 1)
        found = pipeline.handle(Wanted(9), 0.0)
        for _ in range(2):
            found += pipeline.handle(failed(launches(found)[-1]), 0.0)
        assert names_of(emitted(found)) == [["taken"], ["taken"]]
        assert isinstance(found[-1], Finish)


class Histories(RuleBasedStateMachine):
    """Any chain of stages, any order of news: rows arrive once, in order, within bounds."""

    @initialize(
        sizes=st.lists(st.integers(0, 12), max_size=8),
        kinds=st.lists(
            st.sampled_from(["here", "tasks", "actors", "batches", "nulls"]), max_size=3
        ),
        limit=st.none() | st.integers(0, 40),
        budget=st.sampled_from([1, 200, ALL]),
        slots=st.integers(1, 4),
        pieces=st.integers(1, 4),
    )
    def begin(self, sizes, kinds, limit, budget, slots, pieces):
        start = 0
        source = []
        for size in sizes:
            source.append(bundle(start, size))
            start += size
        stages = [Stage("Blocks", Here(), source=tuple(source))]
        for kind in kinds:
            inputs = (len(stages) - 1,)
            match kind:
                case "here":
                    stages.append(Stage("native", Here(), steps=(Limit(ALL),), inputs=inputs))
                case "tasks":
                    stages.append(worker(inputs=inputs, pieces=pieces))
                case "batches":
                    step = udf(batch_size=3)
                    stages.append(worker(inputs=inputs, steps=(step,), batch_rows=3))
                case "nulls":
                    stages.append(nulls(inputs=inputs))
                case _:
                    place = pool(1, 2)
                    stages.append(worker(inputs=inputs, place=place, steps=(udf(place),)))
        if limit is not None:
            stages.append(
                Stage("Limit", Here(), (Limit(limit),), (), (len(stages) - 1,), 1, None, limit)
            )
        self.expected = list(range(start))[:limit]
        self.pipeline = Pipeline(stages, budget, slots, retries=Retries(True, 2))
        self.running = []
        self.starting = []
        self.alive = []
        self.got = []
        self.wanted = 0
        self.finished = False
        self.crashes = 0

    def take(self, commands):
        for command in commands:
            assert not self.finished
            match command:
                case Launch():
                    if command.actor is not None:
                        assert (command.stage, command.actor) in self.alive
                    self.running.append(command)
                case Emit(block):
                    self.wanted -= 1
                    self.got += rows_of([block])
                case Cancel(stage, task, attempt):
                    self.running = [
                        one
                        for one in self.running
                        if (one.stage, one.task, one.attempt) != (stage, task, attempt)
                    ]
                case StartActor(stage, actor):
                    self.starting.append((stage, actor))
                case StopActor(stage, actor):
                    self.starting = [one for one in self.starting if one != (stage, actor)]
                    self.alive = [one for one in self.alive if one != (stage, actor)]
                case Finish():
                    self.finished = True
                case Fail(error):
                    raise AssertionError("no error was reported") from error

    def tell(self, event):
        self.take(self.pipeline.handle(event, 0.0))

    @rule(blocks=st.integers(1, 3))
    def want(self, blocks):
        if not self.finished:
            self.wanted += blocks
        self.tell(Wanted(blocks))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end_a_task(self, data):
        launch = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.tell(done(launch))

    @precondition(lambda self: any(self.is_null(one) for one in self.running))
    @rule()
    def fail_all_rows_of_a_task(self):
        launch = next(one for one in self.running if self.is_null(one))
        self.running.remove(launch)
        self.tell(failed(launch))

    def is_null(self, launch):
        return self.pipeline.stages[launch.stage].stage.nulls

    @precondition(lambda self: self.running and self.crashes < 2)
    @rule(data=st.data())
    def crash_a_task(self, data):
        launch = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.crashes += 1
        here = isinstance(self.pipeline.stages[launch.stage].stage.place, Here)
        crashed = here or data.draw(st.booleans())
        self.tell(TaskFailed(launch.stage, launch.task, launch.attempt, CRASH, crashed))

    @precondition(lambda self: self.starting)
    @rule()
    def an_actor_is_ready(self):
        self.alive.append(self.starting.pop(0))
        self.tell(ActorReady(*self.alive[-1]))

    @precondition(lambda self: self.alive and self.crashes < 2)
    @rule()
    def an_actor_dies(self):
        dead = self.alive.pop(0)
        self.crashes += 1
        self.running = [one for one in self.running if (one.stage, one.actor) != dead]
        self.tell(ActorLost(*dead, CRASH, True))

    @invariant()
    def holds(self):
        if not hasattr(self, "pipeline"):
            return
        self.pipeline.check()
        assert self.as_expected(self.expected[: len(self.got)])
        assert self.wanted >= 0

    def as_expected(self, rows):
        """Whether it has given these rows; what has failed is null."""
        return [a if a is None else b for a, b in zip(self.got, rows, strict=True)] == self.got

    def teardown(self):
        """Whatever happened before, it comes to its end if only the news keep coming."""
        if not hasattr(self, "pipeline"):
            return
        for _ in range(10_000):
            if self.finished:
                break
            if self.running:
                self.tell(done(self.running.pop(0)))
            elif self.starting:
                self.an_actor_is_ready()
            else:
                self.wanted += 1
                assert self.wanted < 100, "stuck: nothing runs and nothing comes"
                self.tell(Wanted(1))
            self.pipeline.check()
        assert self.finished
        assert self.as_expected(self.expected)
        assert not self.alive
        assert not self.starting


Histories.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestHistories = Histories.TestCase
