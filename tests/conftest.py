"""Nothing outlives a test: no process, no shared memory, no descriptor."""

import fcntl
import logging
import os
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import heliostat
from heliostat.testing import leaks

leaks.mark()
# Programs that tests start may end by a signal or `os._exit`: what they have printed is there.
os.environ.setdefault("PYTHONUNBUFFERED", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell began us with `&`
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Only does something when somebody imports torchvision.
TORCHVISION = Path(__file__).parent / "torchvision"
runpy.run_path(str(TORCHVISION / "sitecustomize.py"))
# A busy machine takes a second for anything; and whether a change is good is no matter of luck: the
# same examples each time, and others with `make random`.
settings.register_profile("random", deadline=None, print_blob=True)
settings.register_profile("same", settings.get_profile("random"), derandomize=True)
settings.load_profile("same")


@pytest.fixture
def untraced() -> Iterator[None]:
    """Without coverage, which makes deciders four times as slow, in what others have covered."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    """The door and the room of `company`, shared by the processes that run this suite together."""
    here = tmp_path_factory.getbasetemp()
    here = here.parent if "PYTEST_XDIST_WORKER" in os.environ else here
    flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
    door, room = (os.open(here / name, flags, 0o600) for name in ("door", "room"))
    return door, room


@pytest.fixture(autouse=True)
def company(request: pytest.FixtureRequest, rooms: tuple[int, int]) -> Iterator[None]:
    """Tests run beside one other, but those marked `alone`, which measure time or memory.

    Who wants the room to itself waits in the door, so that nobody else goes in meanwhile.
    """
    alone = request.node.get_closest_marker("alone") is not None
    door, room = rooms
    fcntl.flock(door, fcntl.LOCK_EX)
    fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    fcntl.flock(door, fcntl.LOCK_UN)
    yield
    fcntl.flock(room, fcntl.LOCK_UN)


@pytest.fixture(autouse=True, scope="session")
def caches_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What workers are born with is not kept among the user's caches; the environment from there on."""
    os.environ["HELIOSTAT_CACHE_DIR"] = str(tmp_path_factory.mktemp("heliostat"))
    # Not all that other tests have imported into this process.
    os.environ.setdefault("HELIOSTAT_PRELOAD", "asyncio,numpy,pandas,pyarrow,heliostat")
    return {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}


@pytest.fixture(scope="module")
def torchvision_anywhere() -> Iterator[None]:
    """New processes can import torchvision, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TORCHVISION), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True, scope="module")
def nothing_outlives_the_module(caches_of_our_own: dict[str, str]) -> Iterator[None]:
    """Sessions that tests of a module share must end cleanly with it; so does its environment."""
    before = None if heliostat.is_initialized() else leaks.take_census()
    _restore(caches_of_our_own)
    yield
    if before is not None:
        heliostat.shutdown()  # one that a library began by itself
    _restore(caches_of_our_own)
    if before is not None:
        leaks.expect_nothing_new(before)


def _restore(variables: dict[str, str]) -> None:
    """The environment as it was, but for what pytest says of itself."""
    for name in os.environ.keys() - variables.keys():
        if not name.startswith("PYTEST_"):
            del os.environ[name]
    os.environ.update(variables)


def _loggers() -> dict[str, tuple[int, bool, bool, int]]:
    """How loud our loggers are, and what silences all."""
    made = logging.root.manager.loggerDict.items()
    return {
        name: (each.level, each.propagate, each.disabled, logging.root.manager.disable)
        for name, each in made
        if name.startswith("heliostat") and isinstance(each, logging.Logger)
    }


@pytest.fixture(autouse=True)
def nothing_outlives_the_test() -> Iterator[None]:
    """A session that a test starts and ends itself must leave nothing behind."""
    before = None if heliostat.is_initialized() else leaks.take_census()
    loud = _loggers()
    yield
    if before is not None and not heliostat.is_initialized():
        leaks.expect_nothing_new(before)
        now = _loggers()
        assert {name: now[name] for name in loud} == loud, "a test has left logging otherwise"
