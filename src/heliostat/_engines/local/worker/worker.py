"""The worker process: receive, run, reply. Tasks, and actors of every kind (see `actor_loop`, `actor_threads`)."""

from __future__ import annotations

import atexit
import contextvars
import faulthandler
import gc
import importlib
import itertools
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, GeneratorType
from typing import Any, NoReturn

from heliostat import _faults
from heliostat._core import session
from heliostat._core.actors import ActorExit, find_method, is_async, shut_down
from heliostat._core.codec import fill
from heliostat._core.engine import Running, qualified
from heliostat._core.ids import fresh
from heliostat._core.options import UNIT, InitOptions
from heliostat._core.outcomes import retries, spread, task_error
from heliostat._core.tally import PENDING
from heliostat._engines.local import failures
from heliostat._engines.local.engine import RUNNING, LocalEngine
from heliostat._engines.local.messages import (
    ERROR,
    MAIL,
    Call,
    Exiting,
    Finished,
    Make,
    Run,
    Shape,
    Tallied,
    Unfit,
    Value,
    Yielded,
    method_of,
    title,
)
from heliostat._engines.local.objects.store import Store
from heliostat._engines.local.scheduling.streams import Allowance
from heliostat._engines.local.worker import stamps
from heliostat._engines.local.worker.birth import call_hook
from heliostat._engines.local.worker.link import Link
from heliostat._engines.local.worker.threads import Threads, of_shape
from heliostat._gpus import VISIBLE, ids
from heliostat.exceptions import UnserializableException

TALLY_S = 1.0
LAST = "__ray_terminate__"  # what an actor is called when nobody reaches it any more
GRACE_S = 30.0  # as in Ray: how long what it does then may take
_POST_MORTEM = "HELIOSTAT_DEBUG_POST_MORTEM"
_DEBUGGER = "heliostat.util.rpdb"  # loaded by name when a breakpoint is met
_MOST_NAMES = 256
FLUSH_S = 0.001  # results of short tasks are sent together, but not later than this


class Worker:
    """One process that runs tasks, or hosts one actor."""

    def __init__(self, link: Link, threads: Threads, birth: Mapping[str, Any]) -> None:
        self.link = link
        self.engine = LocalEngine(InitOptions(), link)
        if birth:
            self.engine.environments.inherit(birth["key"], birth["text"], birth["hook"])
        self._threads = threads
        self._prepared: tuple[tuple[int, ...], Shape] = (), (("CPU", UNIT),)
        self._visible_gpus = os.environ.get(VISIBLE)
        self._gpu_ids: tuple[int | str, ...] = ()
        self._named: dict[str, tuple[str, tuple[Any, ...]]] = {}  # calls of the actor, by method
        self.functions: dict[bytes, Any] = self.engine.functions
        self.actor: Any = None
        self.actor_id: bytes | None = None
        self._ending = threading.Lock()  # held by who sees to the end of the actor
        self.running = Running(None, "", None, "", (), (), False)
        self._task: bytes | None = None  # what the main thread runs, and may be cancelled
        self._in_user_code = False  # an interrupt anywhere else would lose memory or a report
        self._flushed = 0.0
        link.interrupt = self._interrupt
        PENDING.on_first = self._tally_while_running

    def run(self) -> NoReturn:
        """Serve until the driver is gone or says stop."""
        link = self.link
        while True:
            if link.inbox:
                self.execute(link.inbox.popleft())
            else:
                link.sweep()
                link.flush()
                link.wait_for_work()

    def execute(self, message: Any) -> None:
        """Carry out one message."""
        if type(message) is Run:
            self._run_task(message)
        elif type(message) is Make:
            self._become(message)
        else:
            self.call(message)

    # Tasks

    def _run_task(self, message: Run) -> None:
        link = self.link
        link.busy_with_task = link.lends = True
        self._task = message.task
        gpu_ids = self._prepare(message.gpus, message.shape)
        RUNNING.set(
            Running(
                message.task, message.name, None, "", gpu_ids, message.shape, False,
                message.place, message.key,
            )
        )  # fmt: skip
        report = self.attempt(message, message.name, self.function, message.key)
        self._ended(message.task)
        link.busy_with_task = link.lends = False
        self.reply(report, message, more=bool(link.inbox))

    def function(self, key: bytes) -> Any:
        """The function or class that a message names."""
        function = self.functions.get(key)
        if function is None:
            function = self.functions[key] = pickle.loads(self.link.codes[key])
        return function

    def attempt(
        self, message: Any, name: str, find: Callable[[Any], Any], which: bytes | str
    ) -> Finished:
        """Decode, call what `find` finds, encode; whatever goes wrong becomes the report."""
        start = time.perf_counter()
        failure = 0
        try:
            if type(message) is Call:
                _faults.point("worker.call")
            else:
                _faults.point("worker.task")
            args, kwargs = self.arguments(message)
            function = find(which)
            _faults.point("worker.code")
            self._in_user_code = True
            if self.link.cancelled:
                self._interrupt()
            outcome = function(*args, **kwargs)
            self._in_user_code = False
            _faults.point("worker.result")
            del args, kwargs
            values = self.results(message, name, outcome)
        except ActorExit:
            raise
        except SystemExit as error:
            if self.actor_id is not None:
                raise ActorExit from None
            self._leave(error)
        except BaseException as error:  # noqa: BLE001 - user code: it becomes the task's result
            self._in_user_code = False
            values = (self.error(name, error),)
            failure = 2 if self.retried(message, error) else 1
        seconds = time.perf_counter() - start
        return Finished.of((self.link.proc, message.task, values, failure, seconds, ()))  # type: ignore[no-any-return]

    def retried(self, message: Any, error: BaseException) -> bool:
        """Whether the caller asked for another try after this error."""
        kinds = message.retry_on
        if kinds is False:
            return False
        return retries(error, pickle.loads(kinds) if isinstance(kinds, bytes) else kinds)

    def arguments(self, message: Any) -> tuple[Any, Any]:
        """The arguments of a call; raises the error of an argument that failed."""
        args, kwargs = self.engine.from_value(message.call_id, message.call)
        if not message.slots:
            return args, kwargs
        values = [self.engine.from_value(id_, value) for id_, value in message.needs]
        return fill(args, kwargs, message.slots, values)

    def results(self, message: Any, name: str, outcome: Any) -> tuple[Value, ...]:
        """The outcome as values; a stream is sent item by item."""
        if message.num_returns == 1 and type(outcome) is not GeneratorType:
            return (self.engine.to_value(outcome),)
        if message.num_returns < 0:
            self._stream(message, name, outcome)
            return (self.engine.to_value(None),)
        return self.engine.to_values(spread(outcome, message.num_returns))

    def _stream(self, message: Any, name: str, outcome: Any) -> None:
        task, items = message.task, _items(name, outcome)
        allowance = self.link.allowances[task]
        for position in itertools.count():
            self._in_user_code = True
            self._interrupt()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self._in_user_code = False
            self.send_item(task, position, item, allowance)
            if allowance.exhausted():
                self.link.wait_for_credit(task, allowance)

    def send_item(self, task: bytes, position: int, item: Any, allowance: Allowance) -> None:
        """One item of a stream; short ones are sent together."""
        value = self.engine.to_value(item)
        allowance.sent(value)
        self.link.post_later(Yielded(self.link.proc, task, position, value))
        self._flush_if_due()

    def cancelled(self, message: Any, name: str) -> Finished:
        """The report of a call that was cancelled before it began."""
        return Finished(self.link.proc, message.task, (failures.cancelled(name),), 1, 0.0, ())

    def error(self, name: str, error: BaseException) -> Value:
        """An error of the user's code as a value; what cannot be pickled travels as text."""
        if isinstance(error, KeyboardInterrupt):
            return failures.cancelled(name)
        if _POST_MORTEM in os.environ and os.environ[_POST_MORTEM] == "1":
            importlib.import_module(_DEBUGGER).post_mortem(error)
        wrapped = task_error(name, error)
        try:
            return self._checked(wrapped)
        except Exception:  # noqa: BLE001 - a user's exception class may fail in any way
            text = UnserializableException(f"{type(error).__qualname__}: {error}")
            trace, actor = wrapped.traceback_str, wrapped.actor_id
            plain = type(wrapped)(name, trace, text, pid=wrapped.pid, actor_id=actor)
            return self.engine.to_value(plain, ERROR)

    def _checked(self, error: BaseException) -> Value:
        value = self.engine.to_value(error, ERROR)
        pickle.loads(value[1], buffers=value[2])  # some pickle and then do not load
        return value

    def reply(self, report: Finished, message: Any, *, more: bool) -> None:
        """Send the report with what goes back; soon, if more work is waiting here."""
        self.report(report, message)
        if more:
            self._flush_if_due()
        else:
            self._flushed = time.perf_counter()
            self.link.flush()

    def report(self, report: Finished, message: Any) -> None:
        """How a task or call ended, with the next flush; what it recorded of metrics goes before."""
        if PENDING.touched:
            self.tally()
        self.link.report(report, message)

    def tally(self) -> None:
        """Hand over what was recorded of metrics, with the next message."""
        self.link.post_later(Tallied(self.link.proc, PENDING.take()))

    def _tally_while_running(self) -> None:
        """What long tasks record is handed over once a second, by a thread of its own."""
        recorded = threading.Event()
        PENDING.on_first = recorded.set

        def hand_over() -> None:
            while recorded.wait():
                time.sleep(TALLY_S)
                recorded.clear()
                if PENDING.touched:
                    self.tally()
                    self.link.flush()

        threading.Thread(target=hand_over, name="heliostat-tally", daemon=True).start()

    def _flush_if_due(self) -> None:
        now = time.perf_counter()
        if now - self._flushed > FLUSH_S:
            self._flushed = now
            self.link.flush()

    # Actors

    def _become(self, message: Make) -> None:
        """Run the constructor, then serve calls in the way the class asks for."""
        self.actor_id = message.task
        gpu_ids = self._prepare(message.gpus, message.shape)
        name = f"{message.name}.__init__"
        self.running = Running(
            message.task, message.name, message.task, message.public_name, gpu_ids,
            message.shape, message.restarted, message.place, None,
        )  # fmt: skip
        RUNNING.set(self.running)
        stamps.becomes(message.name)
        start = time.perf_counter()
        failure = 0
        try:
            args, kwargs = self.arguments(message)
            class_ = self.function(message.key)
            self.running = self.running._replace(function=qualified(class_))
            RUNNING.set(self.running._replace(function=f"{qualified(class_)}.__init__"))
            self.actor = class_(*args, **kwargs)
            values = (self.engine.to_value(None),)
            del args, kwargs
        except SystemExit as error:
            self._leave(error)
        except BaseException as error:  # noqa: BLE001 - user code: the actor dies of it
            values, failure = (self.error(name, error),), 1
        seconds = time.perf_counter() - start
        report = Finished(self.link.proc, message.task, values, failure, seconds, ())
        self.reply(report, message, more=False)
        if not failure:
            self.link.on_depart = self._depart
            self.link.lends = any(name == "CPU" for name, _ in message.shape)
            self._serve(message.concurrency, dict(message.groups))

    def _serve(self, concurrency: int, groups: dict[str, int]) -> None:
        """In the way the class asks for; returns at once for one call at a time."""
        # Each is loaded by who needs it: asyncio takes longer to load than an actor to start.
        if is_async(type(self.actor)):
            from heliostat._engines.local.worker import actor_loop  # noqa: PLC0415 - as said

            actor_loop.serve(self, concurrency, groups)
        elif concurrency > 1 or groups:
            from heliostat._engines.local.worker import actor_threads  # noqa: PLC0415 - as said

            actor_threads.serve(self, concurrency, groups)

    def enter_call(self, message: Call) -> str:
        """Tell what runs in this thread or asyncio task; the name of the call."""
        named = self._named.get(message.method)
        if named is None:
            named = self._name(message.method)
        name, fields = named
        RUNNING.set(Running(message.task, *fields))
        return name

    def _name(self, method: str) -> tuple[str, tuple[Any, ...]]:
        """The name of a call, and what it is told of itself but its identifier."""
        name = title(type(self.actor).__name__, method)
        function = f"{self.running.function}.{method_of(method)}"
        if len(self._named) >= _MOST_NAMES:  # names may be given to single calls
            self._named.clear()
        found = self._named[method] = name, (name, *self.running[2:-1], function)
        return found

    def method(self, method: str) -> Any:
        """What to call, of the field `method` of a call."""
        if self._ending.locked():
            raise ActorExit
        return find_method(self.actor, method_of(method))

    def call(self, message: Call) -> None:
        """Run a method and reply."""
        name = self.enter_call(message)
        self._task = message.task
        try:
            report = self.attempt(message, name, self.method, message.method)
        except ActorExit:
            report = None
        if report is None:  # nothing is left of what was raised, which refers to the instance
            self.exit_actor()
        self._ended(message.task)
        self.reply(report, message, more=bool(self.link.inbox))

    def _depart(self) -> None:
        """Nobody reaches the actor any more: its last call."""
        self.link.on_depart = lambda: None  # it is told once
        faulthandler.dump_traceback_later(GRACE_S, exit=True, file=sys.__stderr__ or 2)
        nothing = self.engine.to_value(((), {}))
        self.link.enqueue(Call(fresh(), LAST, 1, False, nothing, None, (), (), "", 0, 0))

    def ends(self) -> bool:
        """Whether the end of the actor is for the caller to see to; its calls end from now on."""
        self._in_user_code = False
        return self._ending.acquire(blocking=False)

    def exit_actor(self) -> NoReturn:
        """The actor ends on its own wish, once its class has had its say."""
        if not self.ends():
            threading.Event().wait()  # another thread ends the process
        try:
            shut_down(self.actor)
        finally:
            self.exit_shut_down()

    def exit_shut_down(self) -> NoReturn:
        """The rest of it: what the process has registered, and the instance."""
        assert self.actor_id is not None
        atexit._run_exitfuncs()
        collected = hasattr(type(self.actor), "__del__")
        self.actor = None
        if collected:
            gc.collect()
        faulthandler.cancel_dump_traceback_later()  # what is to be sent takes as long as it takes
        self.tally()
        self.link.post(Exiting(self.link.proc, self.actor_id))
        self.link.direct.finish()
        _flush_streams()
        os._exit(0)

    def _leave(self, error: SystemExit) -> NoReturn:
        """sys.exit() in user code: an actor leaves on purpose, a task's worker dies of it."""
        if self.actor_id is not None:
            self.exit_actor()
        self.tally()
        self.link.flush()
        _flush_streams()
        os._exit(error.code if isinstance(error.code, int) else 1)

    # Environment and signals

    def _prepare(self, gpus: tuple[int, ...], shape: Shape) -> tuple[int | str, ...]:
        """Set what libraries read from the environment; what programs call these GPUs."""
        if (gpus, shape) == self._prepared:
            return self._gpu_ids
        self._prepared = gpus, shape
        self._gpu_ids = ids(self._visible_gpus, gpus)
        self._threads.use(of_shape(shape))
        if gpus:
            os.environ[VISIBLE] = ",".join(map(str, self._gpu_ids))
        elif self._visible_gpus is not None:
            os.environ[VISIBLE] = self._visible_gpus
        else:
            os.environ.pop(VISIBLE, None)
        return self._gpu_ids

    def be_set_up(self, birth: Mapping[str, Any]) -> None:
        """Call the setup hook of the environment; without it this worker is of no use."""
        try:
            call_hook(birth)
        except BaseException as error:  # noqa: BLE001 - user code: tasks fail with it
            self.link.post(Unfit(self.link.proc, failures.setup_hook(error)))
            _flush_streams()
            os._exit(1)

    def on_mail(self, number: int, frame: FrameType | None) -> None:
        """The hub has sent something that cannot wait."""
        self.link.read_mail()
        self._interrupt()

    def _interrupt(self) -> None:
        """Raise if the main thread runs user code that was cancelled, and may be torn here."""
        if not self._in_user_code or self._task not in self.link.cancelled or self.link.shielded():
            return
        if threading.current_thread() is threading.main_thread():
            # It stays cancelled: should a finaliser swallow this, the next look raises again.
            raise KeyboardInterrupt("this task was cancelled")

    def _ended(self, task: bytes) -> None:
        self._task = None
        self.link.cancelled.discard(task)


def _items(name: str, outcome: Any) -> Iterator[Any]:
    if hasattr(outcome, "__aiter__"):
        raise TypeError(f"{name} is an async generator; only asyncio actors can stream from one")
    if not hasattr(outcome, "__iter__"):
        raise TypeError(
            f'{name} has num_returns="streaming", so it must be a generator or return an '
            f"iterable, got {type(outcome).__name__}"
        )
    return iter(outcome)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def main(
    proc: int,
    sockets: tuple[socket.socket, socket.socket],
    segment: int,
    facts: dict[str, Any],
    birth: Mapping[str, Any],
) -> NoReturn:
    """Be worker number `proc`, joined to the hub by the first of `sockets`; see `direct`."""
    if facts["faults"]:
        _faults.parse(facts["faults"])
    _faults.forked(proc)
    store = Store(segment, facts["capacity"])
    threads = Threads(facts["threads"])
    threads.keep(birth.get("variables", {}))
    worker = Worker(Link(proc, sockets, store, facts), threads, birth)
    if facts["tracing"]:
        tracing = importlib.import_module("heliostat._core.tracing")
        session.serve(tracing.start(facts["tracing"], worker.engine))
    else:
        session.serve(worker.engine)
    signal.signal(MAIL, worker.on_mail)
    signal.siginterrupt(MAIL, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if facts["logging"]:
        from heliostat._core import logging_config  # noqa: PLC0415 - only if init was told to

        logging_config.setup(facts["logging"], facts["node_id"])
    os.environ.setdefault("PYTHONBREAKPOINT", f"{_DEBUGGER}.set_trace")
    if os.environ.get("HELIOSTAT_ALIAS_RAY") == "1":
        if "RAY_DEBUG_POST_MORTEM" in os.environ:
            os.environ.setdefault(_POST_MORTEM, os.environ["RAY_DEBUG_POST_MORTEM"])
        from heliostat._alias import install  # noqa: PLC0415 - only for `heliostat run`

        install()
    if birth:
        worker.be_set_up(birth)
    contextvars.copy_context().run(worker.run)
    raise AssertionError("a worker never returns")
