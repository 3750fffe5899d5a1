"""What runs in Ray's workers: it decodes a call, makes it, and encodes what comes of it.

The functions and classes here are what Ray is asked to run; each has the user's own, as bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import importlib
import inspect
import pickle
import warnings
from asyncio import CancelledError
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from heliostat import _alias
from heliostat._core import session
from heliostat._core.actors import ActorExit, find_method, shut_down
from heliostat._core.codec import Slot, fill
from heliostat._core.engine import Running, qualified
from heliostat._core.options import InitOptions, Items, Place, Resources
from heliostat._core.outcomes import spread
from heliostat._core.specs import About
from heliostat._core.tally import PENDING
from heliostat._engines.ray import kept, theirs
from heliostat._engines.ray.failures import Failed, failed, passed_on
from heliostat._engines.ray.values import Packed

NOTHING = Running(None, "", None, "", (), (), False)
RUNNING: contextvars.ContextVar[Running] = contextvars.ContextVar("running", default=NOTHING)


class Home(NamedTuple):
    """What the workers of a session know of it."""

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
    restarted: bool = False


# Whom this process is, if an actor; set once.
HERE: list[Actor] = []


@functools.lru_cache(maxsize=1024)
def _loaded(code: Code) -> Any:
    return pickle.loads(code.pickled)


def function(home: Home, code: Code, *, stream: bool) -> Callable[..., Any]:
    """A user's function as Ray is to run it; Ray sends it once to each worker."""

    def run(call: Any, *needs: Any) -> Any:
        with _begun(home, code, call, needs) as (engine, call, begin):
            return _results(engine, begin(), call)

    def run_stream(call: Any, *needs: Any) -> Iterator[Any]:
        with _begun(home, code, call, needs) as (engine, _, begin):
            yield from _items(engine, begin())

    made = run_stream if stream else run
    made.__name__ = code.name.rpartition(".")[2]
    made.__qualname__ = code.name
    return made


def enter(home: Home) -> Any:
    """The session of this worker; made by the first call that it runs."""
    if not session.is_initialized():
        engine = importlib.import_module("heliostat._engines.ray.engine")
        session.serve(engine.RayEngine(InitOptions(engine="ray"), home))
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
def _begun(
    home: Home,
    code: Code,
    call: Any,
    needs: Sequence[Any],
    method: str = "",
    find: Callable[[], Any] | None = None,
) -> Iterator[Begun]:
    """The surroundings of a call: who runs, with which arguments; its errors travel as ours.

    A call of an actor has the name of the method, and what finds that; else the code is called.
    """
    engine, call = enter(home), Call(*call)
    if call.name == method:
        call = call._replace(name=f"{HERE[0].class_name}.{method}")
    token = RUNNING.set(_running(call, _loaded(code), method))
    try:
        args, kwargs = _arguments(engine, call, needs)
        yield engine, call, lambda: (find() if find else _loaded(code))(*args, **kwargs)
    except ActorExit:
        theirs.module("actor").exit_actor()
    except (KeyboardInterrupt, SystemExit, GeneratorExit, CancelledError, Failed):
        raise  # of a cancelled coroutine Ray says what it means
    except BaseException as error:  # noqa: BLE001 - a user's error may be any
        raise failed(call.name, error, call.again) from None
    finally:
        # A generator may be closed by another thread's context.
        with contextlib.suppress(ValueError):
            RUNNING.reset(token)
        if PENDING.touched:
            engine.tally(PENDING.take())


def _running(call: Call, user: Any, method: str) -> Running:
    context = theirs.ray().get_runtime_context()
    gpus, name = tuple(theirs.ray().get_gpu_ids()), qualified(user)
    if not method:
        return Running(
            call.task, call.name, None, "", gpus, call.resources, False, call.place, name
        )  # fmt: skip
    (actor,) = HERE
    return Running(
        call.task, call.name, bytes.fromhex(context.get_actor_id()), actor.name, gpus,
        actor.resources, actor.restarted, actor.place, f"{name}.{method}",
    )  # fmt: skip


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
    running: Running  # of the constructor

    def __init__(self, actor: Any, call: Any, *needs: Any) -> None:
        context = theirs.ray().get_runtime_context()
        with warnings.catch_warnings():  # one of Ray's own, about itself
            warnings.simplefilter("ignore")
            again = bool(context.was_current_actor_reconstructed)
        HERE[:] = [Actor(*actor)._replace(restarted=again)]
        try:
            with _begun(self.home, self.code, call, needs, "__init__") as (_, _, make):
                self.running = RUNNING.get()
                self.instance = make()
        except Exception as error:
            me = bytes.fromhex(context.get_actor_id())
            kept.put("died", me, getattr(error, "pickled", b""))
            raise

    def __ray_shutdown__(self) -> Any:
        """The user's own; Ray would not wait for one that is `async def`."""
        RUNNING.set(self.running)
        return shut_down(self.instance, lambda it: inspect.iscoroutine(it) and asyncio.run(it))

    def _begun(self, method: str, call: Any, needs: Sequence[Any]) -> Any:
        find = functools.partial(find_method, self.instance, method)
        return _begun(self.home, self.code, call, needs, method, find)


class Host(_Instance):
    """An actor without an event loop; with threads, if it was asked for."""

    def call(self, method: str, call: Any, *needs: Any) -> Any:
        """Call a method."""
        with self._begun(method, call, needs) as (engine, call, run):
            return _results(engine, run(), call)

    def stream(self, method: str, call: Any, *needs: Any) -> Iterator[Packed]:
        """Call a method that yields."""
        with self._begun(method, call, needs) as (engine, _, run):
            yield from _items(engine, run())


class AsyncHost(_Instance):
    """An actor whose calls run on an event loop."""

    async def call(self, method: str, call: Any, *needs: Any) -> Any:
        """Call a method."""
        with self._begun(method, call, needs) as (engine, call, run):
            outcome = run()
            if isinstance(outcome, Awaitable):
                outcome = await outcome
            return _results(engine, outcome, call)

    async def stream(self, method: str, call: Any, *needs: Any) -> AsyncIterator[Packed]:
        """Call a method that yields."""
        with self._begun(method, call, needs) as (engine, _, run):
            outcome = run()
            if inspect.isasyncgen(outcome):
                async for item in outcome:
                    yield engine.holds.pack(item)
                return
            for packed in _items(engine, outcome):
                yield packed
