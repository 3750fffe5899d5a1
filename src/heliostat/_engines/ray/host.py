"""What runs in Ray's workers: it decodes a call, makes it, and encodes what comes of it.

The functions and classes here are what Ray is asked to run; each has the user's own, as bytes.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import inspect
import pickle
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from heliostat import _alias
from heliostat._core import session
from heliostat._core.actors import ActorExit, find_method
from heliostat._core.codec import Slot, fill
from heliostat._core.engine import Running, qualified
from heliostat._core.options import Items, Place, Resources
from heliostat._core.outcomes import spread
from heliostat._core.specs import About
from heliostat._core.tally import PENDING
from heliostat._engines.ray import kept, theirs
from heliostat._engines.ray.failures import failed, passed_on
from heliostat._engines.ray.values import Packed

NOTHING = Running(None, "", None, "", (), (), False)
RUNNING: contextvars.ContextVar[Running] = contextvars.ContextVar("running", default=NOTHING)


class Home(NamedTuple):
    """What the workers of a session know of it."""

    version: str
    aliased: bool  # `import ray` is Heliostat
    logging: tuple[Any, ...]
    modules: tuple[str, ...]  # packages that bring Heliostat, for environments of their own


class Code(NamedTuple):
    """A user's function or class."""

    key: bytes
    name: str
    pickled: bytes


class Call(NamedTuple):
    """A call, without the values of the references among its arguments."""

    task: bytes
    name: str
    arguments: Packed
    slots: tuple[Slot, ...]
    num_returns: int | Items
    again: bool | tuple[type[BaseException], ...]
    resources: Resources
    place: Place | None


class Actor(NamedTuple):
    """What an actor's process knows of it."""

    class_name: str
    name: str
    about: About
    resources: Resources
    place: Place | None


# Whom this process is, if an actor; set once.
HERE: list[Actor] = []


@functools.lru_cache(maxsize=1024)
def _loaded(code: Code) -> Any:
    return pickle.loads(code.pickled)


def function(home: Home, code: Code, *, stream: bool) -> Callable[..., Any]:
    """A user's function as Ray is to run it; Ray sends it once to each worker."""

    def run(call: Any, *needs: Any) -> Any:
        with task_begun(home, code, call, needs) as (engine, call, begin):
            return _results(engine, begin(), call)

    def run_stream(call: Any, *needs: Any) -> Iterator[Any]:
        with task_begun(home, code, call, needs) as (engine, _, begin):
            yield from _items(engine, begin())

    made = run_stream if stream else run
    made.__name__ = code.name.rpartition(".")[2]
    made.__qualname__ = code.name
    return made


def enter(home: Home) -> Any:
    """The session of this worker; made by the first call that it runs."""
    if not session.is_initialized():
        engine = importlib.import_module("heliostat._engines.ray.engine")
        session.attach(engine.RayEngine.in_worker(home))
        if home.aliased:
            theirs.ray()
            _alias.divert()
        if home.logging:
            node = session.current_engine().describe().node_id
            importlib.import_module("heliostat._core.logging_config").setup(home.logging, node)
    return session.current_engine()


# The engine, the call, and what runs the user's function.
Begun = tuple[Any, Call, Callable[[], Any]]


@contextlib.contextmanager
def task_begun(home: Home, code: Code, call: Any, needs: Sequence[Any]) -> Iterator[Begun]:
    """The surroundings of a task."""
    engine, call = enter(home), Call(*call)
    running = Running(
        call.task, call.name, None, "", _gpus(), call.resources, False, call.place,
        qualified(_loaded(code)),
    )  # fmt: skip
    with _as(running):
        args, kwargs = _arguments(engine, call, needs)
        with _failing(call):
            yield engine, call, lambda: _loaded(code)(*args, **kwargs)


def _gpus() -> tuple[int | str, ...]:
    return tuple(theirs.ray().get_gpu_ids())


@contextlib.contextmanager
def _as(running: Running) -> Iterator[None]:
    """Be that task, and hand over what it has counted."""
    token = RUNNING.set(running)
    try:
        yield
    finally:
        # A generator may be closed by another thread's context.
        with contextlib.suppress(ValueError):
            RUNNING.reset(token)
        if PENDING.touched:
            session.current_engine().tally(PENDING.take())


@contextlib.contextmanager
def _failing(call: Call) -> Iterator[None]:
    """Have the user's errors travel as ours."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, ActorExit, GeneratorExit):
        raise
    except BaseException as error:
        if type(error).__name__ == "CancelledError":  # of asyncio: Ray knows what to say
            raise
        raise failed(call.name, error, call.again) from None


def _arguments(engine: Any, call: Call, needs: Sequence[Any]) -> tuple[Any, Any]:
    try:
        args, kwargs = engine.holds.unpack(call.arguments)
        return fill(args, kwargs, call.slots, [engine.holds.unpack(need) for need in needs])
    except Exception as error:  # noqa: BLE001 - the error of an argument is the result
        raise passed_on(error) from None


def _results(engine: Any, outcome: Any, call: Call) -> Any:
    if call.num_returns == 0:
        return None
    values = [engine.holds.pack(value) for value in spread(outcome, call.num_returns)]
    return values[0] if call.num_returns == 1 else values


def _items(engine: Any, outcome: Any) -> Iterator[Packed]:
    if not isinstance(outcome, Iterable):
        raise TypeError(f'num_returns="streaming" is for a generator, and this gave {outcome!r}')
    yield from (engine.holds.pack(item) for item in outcome)  # Ray uses `send`


def actor_class(home: Home, code: Code, *, asynchronous: bool) -> type:
    """A class whose instances are the user's actors, as Ray is to make them."""
    base = AsyncHost if asynchronous else Host
    name = code.name.rpartition(".")[2]
    # Not found under this name in this module, so it travels by value, with what is its own.
    return type(name, (base,), {"home": home, "code": code, "__module__": __name__})


class _Instance:
    """The user's instance, made by the constructor."""

    home: Home
    code: Code

    def __init__(self, actor: Any, call: Any, *needs: Any) -> None:
        engine, call = enter(self.home), Call(*call)
        HERE[:] = [Actor(*actor)]
        self._again = _restarted()
        try:
            with _as(self._running(call, "__init__")):
                args, kwargs = _arguments(engine, call, needs)
                with _failing(call):
                    self.instance = _loaded(self.code)(*args, **kwargs)
        except Exception as error:
            kept.put("died", _me(), getattr(error, "pickled", b""))
            raise

    @contextlib.contextmanager
    def _called(self, method: str, call: Any, needs: Sequence[Any]) -> Iterator[Begun]:
        """The surroundings of a call."""
        engine, call = enter(self.home), Call(*call)
        if call.name == method:
            call = call._replace(name=f"{HERE[0].class_name}.{method}")
        with _as(self._running(call, method)):
            args, kwargs = _arguments(engine, call, needs)
            try:
                with _failing(call):
                    yield engine, call, lambda: find_method(self.instance, method)(*args, **kwargs)
            except ActorExit:
                theirs.module("actor").exit_actor()

    def _running(self, call: Call, method: str) -> Running:
        (actor,) = HERE
        return Running(
            call.task, call.name, _me(), actor.name, _gpus(), actor.resources, self._again,
            actor.place, f"{qualified(_loaded(self.code))}.{method}",
        )  # fmt: skip


def _me() -> bytes:
    return bytes.fromhex(theirs.ray().get_runtime_context().get_actor_id())


def _restarted() -> bool:
    with warnings.catch_warnings():  # one of Ray's own, about itself
        warnings.simplefilter("ignore")
        return bool(theirs.ray().get_runtime_context().was_current_actor_reconstructed)


class Host(_Instance):
    """An actor without an event loop; with threads, if it was asked for."""

    def call(self, method: str, call: Any, *needs: Any) -> Any:
        """Call a method."""
        with self._called(method, call, needs) as (engine, call, run):
            return _results(engine, run(), call)

    def stream(self, method: str, call: Any, *needs: Any) -> Iterator[Packed]:
        """Call a method that yields."""
        with self._called(method, call, needs) as (engine, _, run):
            yield from _items(engine, run())


class AsyncHost(_Instance):
    """An actor whose calls run on an event loop."""

    async def call(self, method: str, call: Any, *needs: Any) -> Any:
        """Call a method."""
        with self._called(method, call, needs) as (engine, call, run):
            outcome = run()
            if isinstance(outcome, Awaitable):
                outcome = await outcome
            return _results(engine, outcome, call)

    async def stream(self, method: str, call: Any, *needs: Any) -> AsyncIterator[Packed]:
        """Call a method that yields."""
        with self._called(method, call, needs) as (engine, _, run):
            outcome = run()
            if inspect.isasyncgen(outcome):
                async for item in outcome:
                    yield engine.holds.pack(item)
                return
            for packed in _items(engine, outcome):
                yield packed
