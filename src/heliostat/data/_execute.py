"""Drive a Pipeline: run its commands as tasks, actors and work in place; tell it what happened.

The loop runs on the consumer's thread, each time the consumer wants a block. Tasks that were
started go on meanwhile. It chooses nothing.
"""

import contextlib
import dataclasses
import functools
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

import heliostat
from heliostat.data import executions
from heliostat.data._failures import Failures
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
from heliostat.data._optimize import Item, Stage, Streamed, compile_stages, optimize
from heliostat.data._pipeline import Pipeline
from heliostat.data._plan import (
    DYNAMIC,
    UDF_STEPS,
    Actors,
    Blocks,
    Here,
    Plan,
    Tasks,
    further_options,
    schema_of,
    settled,
    step_name,
)
from heliostat.data._spill import give_back_when_idle, thrift
from heliostat.data._stage import StageActor, StageResult, build_functions, closes, run_stage
from heliostat.data._stats import Stats
from heliostat.data._streamed import streamed
from heliostat.data.block import Bundle, Position, iter_rows
from heliostat.data.context import DataContext
from heliostat.data.datasource.source import Part
from heliostat.data.exceptions import ExecutionTimeoutError
from heliostat.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from heliostat.util import progress

CRASHES = (WorkerCrashedError, NodeDiedError, RayActorError, OutOfMemoryError, ObjectLostError)
logger = logging.getLogger(__name__)

PATIENCE_S = 30
# So long objects of users' may take to be let go at the end.
LET_GO_S = 10.0
# Blocks in the driver and in shared memory together; the rest is left to the user's functions.
MEMORY_SHARE = 0.25
# Where memory is short, so many blocks may be there at once, but they are not cut without end.
BLOCKS_AT_ONCE = 8
LEAST_BLOCK_BYTES = 1 << 20


class Flying(NamedTuple):
    """What a pending ref stands for."""

    stage: int
    task: int
    attempt: int
    actor: int | None


class Execution:
    """One run of a plan.

    Args:
        plan: What to run; it is optimised here.
        context: The knobs; copied.
        unbounded: The consumer takes everything at once.
        memory_bytes: What it may hold, if less than the context says.
        gives_way: Its tasks ask for no CPU, because those who wait for its rows may hold them all.
    """

    def __init__(
        self,
        plan: Plan,
        context: DataContext,
        *,
        unbounded: bool = False,
        memory_bytes: int | None = None,
        gives_way: bool = False,
    ) -> None:
        self._context = context.copy()
        # They are told here, and of the whole: they need not travel to workers.
        self._context.custom_execution_callback_classes = []
        self._options = self._context.execution_options
        # Somebody has said how much memory there is.
        self._thrifty = context.memory_budget_bytes is not None
        self._gives_way = gives_way
        self._memory_bytes = _budget(context) if memory_bytes is None else max(1, memory_bytes)
        self._plan = settled(plan)
        self.stages: tuple[Stage, ...] = ()
        self.schema: pa.Schema | None = None
        self.stats: Stats | None = None
        self._unbounded = unbounded
        self._pending: dict[Any, Flying] = {}
        self._actors: dict[tuple[int, int], Any] = {}
        # Those in the midst of what nobody wants any more.
        self._adrift: set[tuple[int, int]] = set()
        # Those that let their users' objects go.
        self._closing: dict[Any, Any] = {}
        self._functions: dict[int, Any] = {}
        self._here: deque[Launch] = deque()
        self._emitted: deque[Bundle] = deque()
        self._failure: BaseException | None = None
        self._finished = False
        self._said = False
        self._waited_s = 0.0
        # Pools that lack actors, and since when.
        self._short: dict[int, float] = {}
        self._watchers = [one() for one in context.custom_execution_callback_classes]
        self._executions: list[Execution] = []
        self._counted: Counter[int] = Counter()
        self._streams: dict[int, Generator[pa.Table]] = {}

    def run(self) -> Generator[Bundle]:
        """Run the plan.

        Yields:
            Blocks, in order.
        """
        started = time.perf_counter()
        best = optimize(self._plan)
        if isinstance(best, Blocks):
            # The rows are there: nothing is run, and there is nothing to tell about it.
            self.schema = best.schema
            yield from (bundle for bundle in best.bundles if bundle.rows)
            return
        self.stages = compile_stages(best, self._block_bytes())
        slots = 1
        limit = None
        if any(not isinstance(stage.place, Here) for stage in self.stages):
            total = heliostat.cluster_resources()
            check_room(self.stages, total)
            cpus = max(1, int(total.get("CPU", 1)))
            # What asks for CPUs may wait for one; what does not is no more than there are.
            slots = cpus if self._gives_way else 2 * cpus
            limit = self._options.task_limit(total.get("CPU", 1))
        pipeline = Pipeline(
            self.stages,
            self._memory_bytes,
            slots,
            self._block_bytes(),
            self._context.max_errored_blocks,
            limit,
            self._context.retries(),
            self._context.target_min_block_size,
        )
        context = self._context
        run = self._run(pipeline, started)
        if self._watchers or context.print_on_execution_start or context.enable_auto_log_stats:
            with executions.told(self, self._watchers, context):
                yield from run
        else:
            yield from run

    def _run(self, pipeline: Pipeline, started: float) -> Generator[Bundle]:
        def row(over: bool) -> dict[str, Any]:
            budget, error = self._memory_bytes, self._failure
            return executions.row(pipeline.stages, budget, error, self._finished, over)

        ledger, number = executions.LEDGER, next(progress.KEYS)
        ledger.running[number] = row, time.time(), time.monotonic()
        try:
            saving = thrift() if self._thrifty else contextlib.nullcontext()
            with saving, self._progress() as show:
                yield from self._loop(pipeline, show)
        finally:
            if ledger.kept_everywhere:
                ledger.keep(number)
            del ledger.running[number]
            self._clean_up()
            give_back_when_idle()
            # What ran below native parts comes first, as it did.
            below = [stage for one in self._executions if one.stats for stage in one.stats.stages]
            own = [state.stats for state in pipeline.stages]
            self.stats = Stats([*below, *own], time.perf_counter() - started)

    def _loop(self, pipeline: Pipeline, show: Callable[[Pipeline], None]) -> Generator[Bundle]:
        self._tell(pipeline, Wanted(1 << 60 if self._unbounded else 1))
        while True:
            while self._emitted:
                yield self._emitted.popleft()
                if not self._unbounded:
                    self._tell(pipeline, Wanted(1))
            if self._failure is not None:
                if self._context.raise_original_map_exception:
                    raise getattr(self._failure, "cause", self._failure)
                raise self._failure
            if self._finished:
                show(pipeline)
                return
            # News of the workers comes first: what it lets start runs beside what runs here.
            for event in self._news(block=not self._here):
                self._tell(pipeline, event)
            if self._here and not self._finished:
                self._tell(pipeline, self._run_here(self._here.popleft()))
            show(pipeline)
            for each in self._watchers:
                each.on_execution_step(self)

    def _tell(self, pipeline: Pipeline, event: Event) -> None:
        for command in pipeline.handle(event, time.monotonic()):
            self._perform(command)

    def _perform(self, command: Command) -> None:
        match command:
            case Launch(stage, _, _, _, None) if isinstance(self.stages[stage].place, Here):
                self._here.append(command)
            case Launch():
                self._launch(command)
            case Emit(bundle):
                self._emitted.append(bundle)
            case Cancel():
                self._cancel(command)
            case Condemn() | Omit():
                self._leave_out(command)
            case StartActor(stage, actor):
                self._start_actor(stage, actor)
            case StopActor(stage, actor):
                self._stop_actors([(stage, actor)])
            case Finish(schema):
                self.schema = schema
                self._finished = True
            case Fail(error):
                self._failure = error

    # -- work

    def _launch(self, command: Launch) -> None:
        parts, tables = pack(command.items, share=True)
        if command.actor is None:
            further = further_options(self.stages[command.stage].place)
            function = self._function(command.stage)
            ref = (function.options(**further) if further else function).remote(parts, *tables)
        else:
            ref = self._actors[command.stage, command.actor].run.remote(parts, *tables)
        self._pending[ref] = Flying(command.stage, command.task, command.attempt, command.actor)

    def _function(self, number: int) -> Any:
        """The remote function of a stage: made once, so that its chain is pickled once."""
        if number not in self._functions:
            stage = self.stages[number]
            steps, thrifty, context = stage.steps, self._thrifty, self._context
            assert isinstance(stage.place, Tasks)

            def run(parts: Sequence[Part | Position], *tables: pa.Table) -> StageResult:
                with context.adopted():
                    functions = build_functions(steps)
                    return run_stage(steps, functions, parts, tables, share=True, thrifty=thrifty)

            # What errors call it by.
            run.__name__ = run.__qualname__ = stage.name
            # The pipeline decides about retries, for tasks and actors alike.
            options = {"name": stage.name, "max_retries": 0, **self._placed(stage.place)}
            if self._gives_way:
                options.setdefault("num_cpus", 0)
            self._functions[number] = heliostat.remote(**options)(run)
        return self._functions[number]

    def _placed(self, place: Tasks | Actors) -> dict[str, Any]:
        """The options of its tasks or actors, with the labels that are asked for in general."""
        labels = self._options.label_selector
        told = {name: value for name, value in place.options if name != DYNAMIC}
        return {**({} if labels is None else {"label_selector": labels}), **told}

    def _start_actor(self, number: int, actor: int) -> None:
        stage = self.stages[number]
        assert isinstance(stage.place, Actors)
        # Without a wish of the user's the pool's size alone says how many run at once.
        options = {"num_cpus": 0, **self._placed(stage.place), **further_options(stage.place)}
        if number not in self._functions:
            # What errors and lists call it by, as with Ray.
            named = type(f"MapWorker({stage.name})", (StageActor,), {})
            self._functions[number] = heliostat.remote(named)
        handle = self._functions[number].options(**options).remote(stage.steps, self._context)
        self._actors[number, actor] = handle
        self._pending[handle.build.remote()] = Flying(number, -1, 0, actor)

    def _stop_actors(self, keys: Iterable[tuple[int, int]]) -> None:
        busy = self._adrift.union((one.stage, one.actor) for one in self._pending.values())
        there = [key for key in keys if key in self._actors]
        for key in there:
            handle = self._actors.pop(key)
            if key in busy or not closes(self.stages[key[0]].steps):
                heliostat.kill(handle)
            else:
                self._closing[handle.let_go.remote()] = handle

    def _run_here(self, command: Launch) -> Event:
        stage = self.stages[command.stage]
        if stage.streams:
            return self._pull(command)
        parts, tables = pack(command.items, share=False)
        steps = stage.steps
        try:
            first = self._counted[command.stage]
            if stage.counts:
                self._counted[command.stage] += sum(item.rows for item in command.items)
            result = run_stage(steps, {}, parts, tables, share=False, first=first)
        except Exception as error:  # noqa: BLE001 - goes to the consumer through Fail
            return TaskFailed(command.stage, command.task, command.attempt, error, False)
        return BlockReady(command.stage, command.task, command.attempt, *result)

    def _pull(self, command: Launch) -> Event:
        """The next block of a native part; started at the first."""
        (part,) = command.items
        assert isinstance(part, Streamed)
        started = time.perf_counter()
        try:
            if command.stage not in self._streams:
                stream = streamed(part.plan, self._below, self._memory_bytes)
                self._streams[command.stage] = stream
            block = next(self._streams[command.stage], None)
        except Exception as error:  # noqa: BLE001 - goes to the consumer through Fail
            return TaskFailed(command.stage, command.task, command.attempt, error, False)
        made = () if block is None else (Bundle.of(block),)
        busy = time.perf_counter() - started
        more = block is not None
        return BlockReady(command.stage, command.task, command.attempt, made, busy, more=more)

    def _leave_out(self, command: Condemn | Omit) -> None:
        stage = self.stages[command.stage]
        if isinstance(command, Omit):
            logger.warning("a block of %s is left out: %s", stage.name, command.error)
            return
        step = next(step for step in stage.steps if isinstance(step, UDF_STEPS))
        (item,) = command.items
        assert isinstance(item, Bundle)
        (row,) = iter_rows(item.table())
        Failures(step.udf.on_error, step_name(step)).add(row, command.error)
        becomes = "becomes a row of nulls" if stage.nulls else "is left out"
        logger.warning("a row of %s kills its process and %s", stage.name, becomes)

    def _below(self, plan: Plan, memory_bytes: int) -> tuple[Generator[Bundle], pa.Schema | None]:
        """What a streamed part takes in: a run of its own, and the schema, if that is known."""
        context = self._context
        if not self._options.verbose_progress:
            context = dataclasses.replace(context, enable_progress_bars=False)
        execution = Execution(plan, context, memory_bytes=memory_bytes, gives_way=self._gives_way)
        self._executions.append(execution)
        bundles = execution.run()
        first = next(bundles, None)
        if first is None:
            return bundles, execution.schema or schema_of(plan)
        schema = first.schema
        waiting = [first]
        del first

        def all_of_them() -> Generator[Bundle]:
            yield waiting.pop()
            yield from bundles

        return all_of_them(), schema

    def _cancel(self, command: Cancel) -> None:
        wanted = Flying(command.stage, command.task, command.attempt, None)
        for ref, flying in list(self._pending.items()):
            if flying._replace(actor=None) == wanted:
                del self._pending[ref]
                # A pool that is stopped takes its calls with it.
                if flying.actor is None:
                    heliostat.cancel(ref)
                else:
                    self._adrift.add((flying.stage, flying.actor))
        self._here = deque(
            one for one in self._here if (one.stage, one.task) != (command.stage, command.task)
        )

    # -- news

    def _news(self, *, block: bool) -> list[Event]:
        """What finished since the last time; waits for the first if asked to."""
        if not self._pending:
            return []
        refs = list(self._pending)
        limits = self._limits() if block else []
        patience_s = max(0, min([PATIENCE_S, *(left_s for left_s, _ in limits)])) if block else 0
        done, _ = heliostat.wait(refs, num_returns=1, timeout=patience_s)
        if block and not done:
            self._waited_s += patience_s
            for left_s, error in limits:
                if left_s <= patience_s:
                    raise error
            self._say_what_it_waits_for()
            return []
        self._waited_s = 0.0
        if done and len(refs) > 1:
            done, _ = heliostat.wait(refs, num_returns=len(refs), timeout=0)
        # A dead actor first: what ran on it is tried again on another one.
        events = [self._outcome(self._pending.pop(ref), ref) for ref in done]
        return sorted(events, key=lambda event: not isinstance(event, ActorLost))

    def _limits(self) -> list[tuple[float, Exception]]:
        """How long the user lets it wait for news, and what comes when there is none by then."""
        context, now = self._context, time.monotonic()
        limits: list[tuple[float, Exception]] = []
        most_s = context.execution_no_progress_timeout_s
        if most_s > 0:
            names = ", ".join(self._waits_for())
            error = ExecutionTimeoutError(f"no task ended for {most_s:g} s: {names}")
            limits.append((most_s - self._waited_s, error))
        most_s = context.wait_for_min_actors_s
        # Each pool by itself, and only while it has fewer than it needs.
        short = self._short_pools() if most_s > 0 else []
        self._short = {stage: self._short.get(stage, now) for stage in short}
        for stage, since in self._short.items():
            name = self.stages[stage].name
            late = GetTimeoutError(f"{name} has too few actors after {most_s:g} s")
            limits.append((since + most_s - now, late))
        return limits

    def _short_pools(self) -> list[int]:
        """The stages that wait for actors of the least number that they need."""
        there = Counter(stage for stage, _ in self._actors)
        coming = Counter(flying.stage for flying in self._pending.values() if flying.task < 0)
        places = {stage: self.stages[stage].place for stage in coming}
        return [
            stage
            for stage, place in places.items()
            if isinstance(place, Actors) and there[stage] - coming[stage] < place.min_size
        ]

    def _waits_for(self) -> list[str]:
        return sorted({self.stages[flying.stage].name for flying in self._pending.values()})

    def _say_what_it_waits_for(self) -> None:
        """Once, when nothing has come for long and nobody else could start either."""
        free = heliostat.available_resources().get("CPU", 0)
        if self._said or free >= 1 or self._waited_s < PATIENCE_S:
            return
        self._said = True
        logger.warning(
            "nothing has come from %s for %d s, and %g CPUs are free: if actors hold the others, "
            "give them num_cpus=0, or materialize() the dataset before they start",
            " and ".join(self._waits_for()),
            PATIENCE_S,
            free,
        )

    def _outcome(self, flying: Flying, ref: Any) -> Event:
        stage, task, attempt, actor = flying
        try:
            result = heliostat.get(ref)
        except RayError as error:
            crashed = isinstance(error, CRASHES) and not isinstance(error, RayTaskError)
            if actor is not None and (crashed or task < 0):
                self._stop_actors([(stage, actor)])
                return ActorLost(stage, actor, error, crashed)
            return TaskFailed(stage, task, attempt, error, crashed)
        if task < 0:
            assert actor is not None
            return ActorReady(stage, actor)
        return BlockReady(stage, task, attempt, *result)

    # -- around it

    def _block_bytes(self) -> int:
        """No task should be given more than this. Less than the context says if memory is short.

        Only where it was said how much there is: otherwise the same cuts on each machine.
        """
        most = self._context.target_max_block_size
        if not self._thrifty:
            return most
        return min(most, max(LEAST_BLOCK_BYTES, self._memory_bytes // BLOCKS_AT_ONCE))

    @contextlib.contextmanager
    def _progress(self) -> Generator[Callable[[Pipeline], None]]:
        """One line a stage, for those that run something; or for the last alone."""
        # Where nothing is ever shown, nobody is told.
        silent = os.environ.get("HELIOSTAT_PROGRESS") == "0"
        if silent or not self._context.enable_progress_bars:
            yield lambda _: None
            return
        every = self._options.verbose_progress and self._context.enable_operator_progress_bars
        with contextlib.ExitStack() as stack:
            lines = {
                number: stack.enter_context(progress.line(stage.name, unit="rows"))
                for number, stage in enumerate(self.stages)
                if (stage.steps or (stage.source and not isinstance(stage.source[0], Bundle)))
                and (every or number == len(self.stages) - 1)
            }

            def show(pipeline: Pipeline) -> None:
                for number, line in lines.items():
                    line.update(pipeline.stages[number].rows_out)

            yield show

    def _clean_up(self) -> None:
        for ref, flying in self._pending.items():
            if flying.actor is None:
                heliostat.cancel(ref)
        if self._actors:
            self._stop_actors(list(self._actors))
        self._pending.clear()
        if self._closing:
            heliostat.wait([*self._closing], num_returns=len(self._closing), timeout=LET_GO_S)
            for handle in self._closing.values():
                heliostat.kill(handle)
        for stream in self._streams.values():
            stream.close()


def _budget(context: DataContext) -> int:
    if context.memory_budget_bytes is not None:
        return context.execution_options.budget(context.memory_budget_bytes)
    share = context.override_object_store_memory_limit_fraction
    if share is not None:
        store = heliostat.cluster_resources().get("object_store_memory", 0)
        return context.execution_options.budget(int(store * share))
    return context.execution_options.budget(int(_machine_bytes() * MEMORY_SHARE))


@functools.cache
def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def pack(items: Sequence[Item], *, share: bool) -> tuple[list[Part | Position], list[Any]]:
    """Items as a message: the parts, and each block they lie in once; shared as a ref if it is large."""
    parts: list[Part | Position] = []
    cells: dict[int, int] = {}
    tables: list[Any] = []
    for item in items:
        if isinstance(item, Bundle):
            if id(item.cell) not in cells:
                cells[id(item.cell)] = len(tables)
                tables.append(item.cell.share() if share else item.cell.table())
            parts.append(Position(cells[id(item.cell)], item.start, item.rows))
        else:
            assert not isinstance(item, Streamed)
            parts.append(item)
    return parts, tables


def check_room(stages: Sequence[Stage], total: dict[str, float]) -> None:
    """Raise if the pools together could never start, instead of waiting for ever.

    Args:
        stages: What is to run.
        total: What the machine has.

    Raises:
        ValueError: that names the stages and what is missing.
    """
    for resource, option in (("CPU", "num_cpus"), ("GPU", "num_gpus")):
        needs = {
            stage.name: dict(stage.place.options).get(option, 0) * stage.place.min_size
            for stage in stages
            if isinstance(stage.place, Actors)
        }
        tasks = [
            dict(stage.place.options).get(option, 1 if resource == "CPU" else 0)
            for stage in stages
            if isinstance(stage.place, Tasks)
        ]
        need = sum(needs.values()) + max(tasks, default=0)
        have = total.get(resource, 0)
        if sum(needs.values()) and need > have:
            raise ValueError(
                f"the actors of {' and '.join(needs)} need {sum(needs.values()):g} {resource}"
                + (f" beside tasks that need {max(tasks):g}" if tasks and max(tasks) else "")
                + f", but there are {have:g}: give a smaller concurrency or {option}"
            )
