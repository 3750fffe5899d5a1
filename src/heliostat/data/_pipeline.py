"""Pipeline: event in, commands out. Which task of which stage may start next.

Blocks flow from stage to stage in order. Each stage may hold its share of the budget in blocks
that wait or are being made; a stage whose blocks nobody takes stops starting tasks, then the
stage before it, up to the source. Tasks finish in any order; their blocks go on in the order of
the tasks. Nothing here runs a task, reads a block or knows the time.
"""

import functools
from collections import deque
from collections.abc import Sequence

import pyarrow as pa

from heliostat.data._failures import NO_RETRIES, Retries
from heliostat.data._messages import (
    ActorLost,
    ActorReady,
    BlockReady,
    Cancel,
    Command,
    Condemn,
    Emit,
    Event,
    Fail,
    Finish,
    Launch,
    Omit,
    StartActor,
    StopActor,
    TaskFailed,
    Wanted,
)
from heliostat.data._optimize import Stage
from heliostat.data._plan import UDF_STEPS, Actors, Here, MapBatches, Tasks, native_schema
from heliostat.data._states import (
    Actor,
    Nulls,
    Search,
    StageState,
    Task,
    halves,
    is_enough,
    next_input,
    unless_all_failed,
)
from heliostat.data.block import Bundle

# As Core's default for tasks: one try and three more after the worker died under it.
MAX_ATTEMPTS = 4
# A worker may die of something else once; the second time its rows are halved.
CRASHES_BEFORE_SEARCH = 2
MAX_PIECES = 256


class Pipeline:
    """Decides what a chain (or tree) of stages does next.

    Args:
        stages: Each after those it takes blocks from; the last is what the consumer sees.
        budget_bytes: What all stages together may hold in blocks.
        slots: How many tasks of one stage may be in flight.
        max_task_bytes: No task takes more than this from one block.
        max_errored: How many tasks may fail and be left out; -1 for any number.
        max_running: How many tasks of all stages may be in flight in workers; None for as many as
            the slots allow.
        retries: Which errors of functions have their task tried again.
        fine_bytes: Cutting finer costs more in tasks than it gives in balance.

    Example:
        >>> import pyarrow as pa
        >>> from heliostat.data._optimize import Stage
        >>> from heliostat.data._plan import Here
        >>> one = Bundle.of(pa.table({"a": [1]}))
        >>> pipeline = Pipeline([Stage("Blocks", Here(), source=(one,))], 1 << 20, 4)
        >>> [type(command).__name__ for command in pipeline.handle(Wanted(2), now=0.0)]
        ['Emit', 'Finish']
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        budget_bytes: int,
        slots: int,
        max_task_bytes: int = 128 << 20,
        max_errored: int = 0,
        max_running: int | None = None,
        retries: Retries = NO_RETRIES,
        fine_bytes: int = 1 << 20,
    ) -> None:
        share = max(1, budget_bytes // max(1, len(stages)))
        self.stages = [
            StageState(stage, share, _slots(stage, slots), source=deque(stage.source))
            for stage in stages
        ]
        self._max_task_bytes = max_task_bytes
        self._max_errored = max_errored
        self._max_running = max_running
        self._retries = retries
        self._fine_bytes = fine_bytes
        self._errored = 0
        self._wanted = 0
        self._over = False
        self._started = False
        self._now = 0.0
        self._out: list[Command] = []

    @property
    def over(self) -> bool:
        """Whether Finish or Fail has been said."""
        return self._over

    def handle(self, event: Event, now: float) -> list[Command]:
        """Take one event and say what to do about it.

        Args:
            event: What happened.
            now: The time, for the stories of the stages; no decision depends on it.

        Returns:
            Commands, in order.
        """
        if self._over:
            return []
        self._now = now
        if not self._started:
            self._started = True
            self._start_pools()
        match event:
            case Wanted(blocks):
                self._wanted += blocks
            case BlockReady():
                self._block_ready(event)
            case TaskFailed():
                self._task_failed(event)
            case ActorReady():
                actor = self.stages[event.stage].actors.get(event.actor)
                if actor is not None:
                    actor.phase = "ready"
                    self.stages[event.stage].stillborn = 0
            case ActorLost():
                self._actor_lost(event)
        if not self._over:
            self._advance()
        out, self._out = self._out, []
        return out

    # -- events

    def _block_ready(self, event: BlockReady) -> None:
        state = self.stages[event.stage]
        task = self._end(state, event.task, event.attempt)
        if task is None:
            return
        state.failed += event.failed
        if task.search is not None and not self._search_on(event, task, task.search):
            return
        state.tasks += 1
        state.busy_s += event.busy_s
        state.rows_in += task.rows
        state.bytes_in += task.size_bytes
        state.bytes_out += sum(bundle.size_bytes for bundle in event.bundles)
        before = [] if task.search is None else task.search.done
        state.keep(event.task, [*before, *_made(state, event)])
        if event.more:
            state.source.extendleft(task.items)
        self._tell(state, f"task {event.task} made {len(event.bundles)} blocks")
        self._flush(event.stage)

    def _flush(self, index: int, *, as_known: bool = False) -> None:
        """Let out of a stage what is next in order; nulls when their columns are known."""
        state = self.stages[index]
        while state.phase == "open" and state.next_out in state.made:
            if state.lacks_columns and not as_known:
                return
            bundles = state.made.pop(state.next_out)
            state.next_out += 1
            for one in bundles:
                self._release(index, one if isinstance(one, Bundle) else one.of(state.columns))

    def _task_failed(self, event: TaskFailed) -> None:
        state = self.stages[event.stage]
        task = self._end(state, event.task, event.attempt)
        if task is None:
            return
        self._tell(state, f"task {event.task}/{event.attempt} failed: {event.error!r:.80}")
        if event.crashed:
            self._again(event.stage, event.task, task, event.error)
        elif self._may_retry(state, task, event.error):
            task.failures += 1
            task.attempt += 1
            task.actor = None
            state.retries += 1
            state.retry.append((event.task, task))
        else:
            self._give_up(event.stage, event.task, event.error)

    def _may_retry(self, state: StageState, task: Task, error: BaseException) -> bool:
        """Whether the user wants such a task tried again. What runs here would fail again."""
        place = state.stage.place
        in_actor = isinstance(place, Actors)
        return not isinstance(place, Here) and self._retries.allow(
            error, task.failures, in_actor=in_actor
        )

    def _actor_lost(self, event: ActorLost) -> None:
        state = self.stages[event.stage]
        actor = state.actors.pop(event.actor, None)
        if actor is None:
            return
        self._tell(state, f"actor {event.actor} lost: {event.error!r:.80}")
        state.stillborn += actor.phase == "starting"
        # Rows and blocks that kill may be left out at the price of actors; a class that kills may not.
        spares = state.stage.survives or not 0 <= self._max_errored <= self._errored
        too_many = not spares and state.next_actor >= _max_actors(state) + MAX_ATTEMPTS
        if not event.crashed or too_many or state.stillborn >= MAX_ATTEMPTS:
            self._fail(event.error)
            return
        for number in sorted(actor.tasks):
            if not self._over:
                self._again(event.stage, number, state.running.pop(number), event.error)

    def _again(self, index: int, number: int, task: Task, error: BaseException) -> None:
        """The worker died under a task: try it once more, but not for ever."""
        state = self.stages[index]
        task.crashes += 1
        task.attempt += 1
        task.actor = None
        if state.stage.survives and task.crashes >= CRASHES_BEFORE_SEARCH:
            self._search(index, number, task, error)
        elif task.crashes >= MAX_ATTEMPTS:
            self._give_up(index, number, error)
        else:
            state.retries += 1
            state.retry.append((number, task))

    def _search(self, index: int, number: int, task: Task, error: BaseException) -> None:
        """Halve the rows of a task that kills its worker; leave out the one that does."""
        state = self.stages[index]
        task.search = task.search or Search()
        parts = halves(task.items)
        if parts is not None:
            task.items = parts[0]
            task.search.left.insert(0, parts[1])
        elif task.rows == 1 and all(isinstance(item, Bundle) for item in task.items):
            self._out.append(Condemn(index, task.items, error))
            state.failed += 1
            if state.stage.nulls:
                task.search.lose(task.items)
            task.items = task.search.left.pop(0) if task.search.left else ()
        else:
            self._give_up(index, number, error)
            return
        # Each half is to die once only: it is known what kills, and each death is a process.
        task.crashes = CRASHES_BEFORE_SEARCH - 1
        self._measure(task)
        state.retry.append((number, task))

    def _search_on(self, event: BlockReady, task: Task, search: Search) -> bool:
        """A part of a task has come through; whether it was the last."""
        if not search.left:
            return True
        search.done.extend(_made(self.stages[event.stage], event))
        task.items = search.left.pop(0)
        task.crashes = CRASHES_BEFORE_SEARCH - 1
        task.attempt += 1
        task.actor = None
        self._measure(task)
        self.stages[event.stage].retry.append((event.task, task))
        return False

    def _measure(self, task: Task) -> None:
        task.rows = sum(item.rows for item in task.items)
        task.size_bytes = sum(item.size_bytes for item in task.items)

    def _give_up(self, index: int, number: int, error: BaseException) -> None:
        """A task cannot be made: the end, unless blocks may be left out."""
        if 0 <= self._max_errored <= self._errored:
            self._fail(error)
            return
        self._errored += 1
        state = self.stages[index]
        state.made[number] = ()
        self._out.append(Omit(index, error))
        self._flush(index)

    def _tell(self, state: StageState, what: str) -> None:
        state.story.append(f"{self._now:.3f} {what}")

    def _end(self, state: StageState, number: int, attempt: int) -> Task | None:
        """Take a task out of flight; None if the news is of an attempt that no longer counts."""
        task = state.running.get(number)
        if task is None or task.attempt != attempt:
            return None
        del state.running[number]
        if task.actor is not None and task.actor in state.actors:
            state.actors[task.actor].tasks.discard(number)
        return task

    # -- moving on

    def _release(self, index: int, bundle: Bundle) -> None:
        """A block is next in order: let it out of its stage, unless the limit is reached."""
        state = self.stages[index]
        if state.phase == "done":
            return
        if not bundle.rows:
            state.empty = bundle.schema if state.empty is None else state.empty
            return
        limit = state.stage.limit
        if limit is not None and state.rows_out + bundle.rows > limit:
            bundle = bundle.view(0, limit - state.rows_out)
        state.rows_out += bundle.rows
        if bundle.rows:
            state.ready.append(bundle)
        if limit is not None and state.rows_out >= limit:
            self._close(index)

    def _close(self, index: int) -> None:
        """A stage needs no more: end it, and everything that works for it."""
        state = self.stages[index]
        if state.phase == "done":
            return
        state.phase = "done"
        for number, task in state.running.items():
            self._out.append(Cancel(index, number, task.attempt))
        state.running.clear()
        state.retry.clear()
        state.made.clear()
        state.source.clear()
        for actor in state.actors:
            self._out.append(StopActor(index, actor))
        state.actors.clear()
        state.upstream = len(state.stage.inputs)
        for below in state.stage.inputs:
            self._close(below)
            self.stages[below].ready.clear()

    def _fail(self, error: BaseException) -> None:
        self._close(len(self.stages) - 1)
        self._out.append(Fail(error))
        self._over = True

    def _advance(self) -> None:
        """Start what may start, from the sink to the source, until nothing more can."""
        sink = self.stages[-1]
        while True:
            while sum(self._step(index) for index in reversed(range(len(self.stages)))):
                pass
            if self._let_go():
                continue
            if not (self._wanted and sink.ready):
                break
            self._wanted -= 1
            self._out.append(Emit(sink.ready.popleft()))
        if sink.phase == "done" and not sink.ready:
            self._over = True
            self._out.append(Finish(sink.empty))

    def _step(self, index: int) -> bool:
        """Do one thing for a stage; whether anything was done."""
        state = self.stages[index]
        if state.phase == "done":
            return False
        if state.retry:
            return not self._is_full(index) and self._relaunch(index)
        complete = self._fill(index)
        if state.stage.limit == 0 or self._exhausted(index):
            self._close(index)
            return True
        if not complete:
            return False
        if _passes_through(state.stage):
            return self._pass_through(index)
        if len(state.running) >= state.slots or state.enough_coming():
            return False
        return not self._is_full(index) and self._launch(index)

    def _let_go(self) -> bool:
        """Let out nulls whose columns nothing that is under way will say."""
        for index, state in enumerate(self.stages):
            if state.running or state.retry:
                return False
            if state.next_out in state.made:
                self._flush(index, as_known=True)
                return True
        return False

    def _start_pools(self) -> None:
        for index, state in enumerate(self.stages):
            place = state.stage.place
            if isinstance(place, Actors):
                for _ in range(place.initial_size):
                    self._start_actor(index)

    def _start_actor(self, index: int) -> None:
        state = self.stages[index]
        state.actors[state.next_actor] = Actor()
        self._out.append(StartActor(index, state.next_actor))
        state.next_actor += 1

    def _is_full(self, index: int) -> bool:
        """Whether as many tasks as may be are in flight: in the driver, or in workers."""
        here = isinstance(self.stages[index].stage.place, Here)
        most = 1 if here else self._max_running
        if most is None:
            return False
        alike = (one for one in self.stages if isinstance(one.stage.place, Here) == here)
        return sum(len(one.running) for one in alike) >= most

    def _relaunch(self, index: int) -> bool:
        state = self.stages[index]
        number, task = state.retry[0]
        actor = self._free_actor(index, alone=task.crashes > 0)
        if isinstance(state.stage.place, Actors) and actor is None:
            return False
        state.retry.popleft()
        self._run(index, number, task, actor)
        return True

    def _launch(self, index: int) -> bool:
        state = self.stages[index]
        items, rest, used = next_input(state)
        size = sum(item.size_bytes for item in items)
        if not state.idle and state.held_bytes + state.cost(size) > state.share:
            return False
        actor = self._free_actor(index)
        if isinstance(state.stage.place, Actors) and actor is None:
            return False
        for _ in range(used):
            state.source.popleft()
        if rest is not None:
            state.source.appendleft(rest)
        if rest is None or used > 1:
            state.cut_rows = 0
        task = Task(items, 0, None, sum(item.rows for item in items), size)
        number = state.next_task
        state.next_task += 1
        self._run(index, number, task, actor)
        return True

    def _run(self, index: int, number: int, task: Task, actor: int | None) -> None:
        state = self.stages[index]
        task.actor = actor
        state.running[number] = task
        if actor is not None:
            state.actors[actor].tasks.add(number)
        self._tell(state, f"task {number}/{task.attempt} launched")
        self._out.append(Launch(index, number, task.attempt, task.items, actor))

    def _free_actor(self, index: int, *, alone: bool = False) -> int | None:
        """The ready actor with the fewest tasks; asks for one more where all are full.

        A task under which an actor died has the next one for itself: if that dies too, it is known
        of what, and no other task is taken for the one that kills.
        """
        state = self.stages[index]
        place = state.stage.place
        if not isinstance(place, Actors):
            return None
        free = [
            (len(actor.tasks), number)
            for number, actor in state.actors.items()
            if actor.phase == "ready" and len(actor.tasks) < (1 if alone else place.in_flight)
            if not any(state.running[task].crashes for task in actor.tasks)
        ]
        if free:
            return min(free)[1]
        starting = any(actor.phase == "starting" for actor in state.actors.values())
        if not starting and len(state.actors) < _max_actors(state):
            self._start_actor(index)
        return None

    # -- what a stage takes

    def _fill(self, index: int) -> bool:
        """Take blocks from the stage before until the next task's input is complete."""
        state = self.stages[index]
        if state.stage.gather:
            # Takes all there is at once, so that the stages before never wait for it.
            while (bundle := self._pull(state)) is not None:
                state.source.append(bundle)
            return bool(state.source) and self._inputs_done(state)
        while True:
            if state.source and not state.cut_rows and isinstance(state.source[0], Bundle):
                state.cut_rows = self._cut_rows(state, state.source[0])
            if state.source and is_enough(state):
                return True
            bundle = self._pull(state)
            if bundle is None:
                return bool(state.source) and self._inputs_done(state)
            state.source.append(bundle)

    def _pull(self, state: StageState) -> Bundle | None:
        """The next block from the stages before, if there is one."""
        while state.upstream < len(state.stage.inputs):
            below = self.stages[state.stage.inputs[state.upstream]]
            if below.ready:
                return below.ready.popleft()
            if below.phase == "open":
                return None
            if state.empty is None and (_passes_through(state.stage) or state.stage.gather):
                state.empty = _after(state.stage, below.empty)
            state.upstream += 1
        return None

    def _inputs_done(self, state: StageState) -> bool:
        return state.upstream == len(state.stage.inputs)

    def _exhausted(self, index: int) -> bool:
        """Everything has come in, and everything made of it is out."""
        state = self.stages[index]
        if state.source or state.running or state.made:
            return False
        return self._inputs_done(state)

    def _pass_through(self, index: int) -> bool:
        state = self.stages[index]
        if not state.idle and state.held_bytes >= state.share:
            return False
        bundle = state.source.popleft()
        assert isinstance(bundle, Bundle)
        state.cut_rows = 0
        state.rows_in += bundle.rows
        state.bytes_out += bundle.size_bytes
        self._release(index, bundle)
        return True

    def _cut_rows(self, state: StageState, head: Bundle) -> int:
        """How many rows of this block a task takes."""
        stage = state.stage
        first = next((step for step in stage.steps if isinstance(step, UDF_STEPS)), None)
        if first is None or (isinstance(first, MapBatches) and first.whole):
            return max(1, head.rows)
        by_size = min(MAX_PIECES, head.size_bytes // self._fine_bytes)
        pieces = max(stage.pieces, by_size, -(-head.size_bytes // self._max_task_bytes), 1)
        rows = max(1, -(-head.rows // pieces))
        if stage.batch_rows:
            rows = -(-rows // stage.batch_rows) * stage.batch_rows
        return rows

    # -- for tests and errors

    def check(self) -> None:
        """Assert what must always hold."""
        for index, state in enumerate(self.stages):
            story = "; ".join(state.story)
            assert len(state.running) <= state.slots, story
            assert all(number < state.next_task for number in state.running), story
            assert not set(state.running) & set(state.made), story
            assert all(state.next_out <= number for number in state.made), story
            assert state.phase == "open" or not (state.running or state.made), story
            limit = state.stage.limit
            assert limit is None or state.rows_out <= limit, story
            for number, task in state.running.items():
                if task.actor is not None:
                    beside = state.actors[task.actor].tasks
                    assert number in beside, story
                    assert not task.crashes or beside == {number}, story
            place = state.stage.place
            if isinstance(place, Actors):
                assert len(state.actors) <= _max_actors(state), story
                for actor in state.actors.values():
                    assert len(actor.tasks) <= place.in_flight, story
                    assert actor.phase == "ready" or not actor.tasks, story
            if state.phase == "done" and index == len(self.stages) - 1 and not state.ready:
                assert self._over, story


def _made(state: StageState, event: BlockReady) -> Sequence[Bundle | Nulls]:
    return unless_all_failed(event.bundles, event.failed) if state.stage.nulls else event.bundles


def _slots(stage: Stage, slots: int) -> int:
    match stage.place:
        case Here():
            return 1
        case Tasks(size):
            return size or slots
        case Actors(_, max_size, _, in_flight):
            return (max_size or max(slots, stage.place.initial_size)) * in_flight


def _max_actors(state: StageState) -> int:
    place = state.stage.place
    assert isinstance(place, Actors)
    return state.slots // place.in_flight


def _passes_through(stage: Stage) -> bool:
    if stage.steps:
        return False
    return bool(stage.inputs) or all(isinstance(item, Bundle) for item in stage.source)


def _after(stage: Stage, schema: pa.Schema | None) -> pa.Schema | None:
    """What a stage makes of columns without rows, as far as that needs no user's function."""
    if schema is None or any(isinstance(step, UDF_STEPS) for step in stage.steps):
        return schema
    return functools.reduce(native_schema, stage.steps, schema)
