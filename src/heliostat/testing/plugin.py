"""The pytest plugin: `heliostat_inline` and `heliostat_local`, sessions for a test at little cost.

pytest loads it by itself wherever Heliostat is installed, so what it needs of Heliostat is
imported by the first test that asks for a session.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

# Options of `init` that can be set for all tests: what they are, and how their text is read.
_OPTIONS: Mapping[str, tuple[str, type]] = {
    "num_cpus": ("logical CPUs of a session (4)", int),
    "num_gpus": ("logical GPUs of a session (0)", int),
    "object_store_memory": ("bytes of shared memory of a session (256 MiB)", int),
}
_DEFAULTS: Mapping[str, Any] = {"num_cpus": 4, "num_gpus": 0, "object_store_memory": 256 << 20}
_MARKER = (
    "heliostat(**options): options of heliostat.init() for the session of this test, such as "
    "num_cpus=2 or resources={'spoon': 1}"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--heliostat-num-cpus` and the like, and the same as ini options."""
    group = parser.getgroup("heliostat", "sessions of heliostat_inline and heliostat_local")
    for name, (about, type_) in _OPTIONS.items():
        flag = f"--heliostat-{name.replace('_', '-')}"
        group.addoption(flag, type=type_, default=None, help=about)
        parser.addini(f"heliostat_{name}", about, default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and what keeps the session of `heliostat_local`."""
    config.addinivalue_line("markers", _MARKER)
    config.stash[_KEPT] = _Kept()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the session that was kept."""
    config.stash[_KEPT].end()


@pytest.fixture
def heliostat_inline(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The module `heliostat` with a new session on the inline engine: everything in this thread."""
    heliostat = _module(request, "heliostat_inline")
    heliostat.init(engine="inline", **_options(request))
    yield heliostat
    heliostat.shutdown()


@pytest.fixture
def heliostat_local(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The module `heliostat` with a session of worker processes, as good as new.

    Tests that want the same options share one session. After each test its actors are ended,
    tasks cancelled, names free, and values forgotten: a reference that outlives the test is of a
    lost object. Worker processes without work stay, with the modules they have imported and what
    tasks have changed in them (globals, environment variables, the current directory).
    """
    heliostat = _module(request, "heliostat_local")
    kept = request.config.stash[_KEPT]
    kept.enter(heliostat, _options(request))
    yield heliostat
    kept.leave()


class _Kept:
    """The session of worker processes, between tests."""

    def __init__(self) -> None:
        self._engine: Any = None  # while no test has it
        self._lent: Any = None  # while one has
        self._options: dict[str, Any] | None = None

    def enter(self, heliostat: ModuleType, options: dict[str, Any]) -> None:
        """Give the session to a test; a new one if there is none, or it was made otherwise."""
        if self._engine is not None and self._options != options:
            self.end()
        if self._engine is None:
            heliostat.init(engine="local", **options)
            self._options = options
        else:
            _session().attach(self._engine)
        self._lent, self._engine = _session().current_engine(), None

    def leave(self) -> None:
        """Take it back from the test, unless that has ended it."""
        engine, lent, self._lent = _session().detach(), self._lent, None
        if engine is None:
            return
        try:
            if engine is lent:
                engine.reset()
                self._engine = engine
        finally:
            if self._engine is None:  # it does not come to rest, or the test has made its own
                engine.close()

    def end(self) -> None:
        """End it."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


_KEPT = pytest.StashKey[_Kept]()


def _session() -> ModuleType:
    return importlib.import_module("heliostat._core.session")


def _module(request: pytest.FixtureRequest, fixture: str) -> ModuleType:
    heliostat = importlib.import_module("heliostat")
    if heliostat.is_initialized():
        raise RuntimeError(
            f"{request.node.nodeid} wants {fixture}, but a session is running already: from another "
            "fixture, or a test that did not end it. Use one of them, or call heliostat.shutdown()"
        )
    return heliostat


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the session is made with: the marker says, else the command line, else the ini file."""
    options = dict(_DEFAULTS)
    for name, (_, type_) in _OPTIONS.items():
        text = request.config.getini(f"heliostat_{name}")
        said = request.config.getoption(f"heliostat_{name}")
        if said is not None:
            options[name] = said
        elif text:
            options[name] = _read(name, text, type_)
    for marker in reversed(list(request.node.iter_markers("heliostat"))):
        if marker.args:
            raise TypeError(
                f"{request.node.nodeid}: the marker heliostat takes options of init() by name, got "
                f"{marker.args!r}"
            )
        options.update(marker.kwargs)
    return options


def _read(name: str, text: str, type_: type) -> Any:
    try:
        return type_(text)
    except ValueError:
        raise pytest.UsageError(
            f"heliostat_{name} in the ini file must be {type_.__name__}, got {text!r}"
        ) from None
