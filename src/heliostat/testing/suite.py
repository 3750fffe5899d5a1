"""EngineTests: the behaviour that every engine must show, through public names only.

The groups lie one to a file beside this one. An engine's own tests subclass `EngineTests`; what
the engine cannot do stands in `cannot`, with the reason, and that list documents the difference.
"""

from __future__ import annotations

from heliostat.testing._actors import ActorTests
from heliostat.testing._asynchrony import AsynchronyTests
from heliostat.testing._backpressure import BackpressureTests
from heliostat.testing._borrowing import BorrowTests
from heliostat.testing._callers import CallerTests
from heliostat.testing._cancelling import CancelTests
from heliostat.testing._constructors import ConstructorTests
from heliostat.testing._dynamic import DynamicTests
from heliostat.testing._ends import ActorEndTests
from heliostat.testing._environments import EnvironmentTests
from heliostat.testing._errors import ErrorTests
from heliostat.testing._faults import ActorFaultTests, CrashTests
from heliostat.testing._graphs import GraphTests
from heliostat.testing._lifecycle import LifecycleTests
from heliostat.testing._objects import MemoryTests, ObjectTests
from heliostat.testing._placement import PlacementTests
from heliostat.testing._queues import QueueTests
from heliostat.testing._resources import ResourceTests
from heliostat.testing._spilling import SpillTests
from heliostat.testing._stops import StopTests
from heliostat.testing._strategies import StrategyTests
from heliostat.testing._streams import StreamTests
from heliostat.testing._tasks import TaskTests
from heliostat.testing._waits import WaitTests

__all__ = ["EngineTests"]


class EngineTests(
    LifecycleTests,
    TaskTests,
    ObjectTests,
    MemoryTests,
    BorrowTests,
    SpillTests,
    StreamTests,
    BackpressureTests,
    DynamicTests,
    GraphTests,
    QueueTests,
    ActorTests,
    ConstructorTests,
    AsynchronyTests,
    ResourceTests,
    PlacementTests,
    EnvironmentTests,
    StrategyTests,
    ErrorTests,
    CrashTests,
    ActorFaultTests,
    ActorEndTests,
    CancelTests,
    StopTests,
    WaitTests,
    CallerTests,
):
    """Subclass it in a test file, say which engine, and pytest runs the whole suite.

    Attributes:
        engine: The name that `heliostat.init(engine=...)` knows.
        cannot: Tests that this engine is excused from: name -> reason.
        settle_s: How long resources may take to come back after a test.

    Example:
        >>> class TestInline(EngineTests):
        ...     engine = "inline"
        ...     cannot = {"test_a_dead_worker_is_retried": "there are no workers"}
        >>> all(hasattr(TestInline, name) for name in TestInline.cannot)
        True
    """
