"""DeploymentState: rules by example, then any history by Hypothesis."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from heliostat.serve._state import (
    STABLE_S,
    Command,
    Deployed,
    DeploymentState,
    Drained,
    DrainReplica,
    Event,
    Publish,
    Removed,
    ReplicaLost,
    ReplicaUp,
    StartReplica,
    Starved,
    StopReplica,
    Tick,
)
from heliostat.serve.schema import DeploymentStatus


def started(commands: list[Command]) -> list[str]:
    return [c.replica for c in commands if isinstance(c, StartReplica)]


def up(num_replicas: int = 1, version: str = "1") -> DeploymentState:
    state = DeploymentState("d")
    for name in started(state.handle(Deployed(version, num_replicas, 3, 5.0), 0)):
        state.handle(ReplicaUp(name), 0)
    return state


def status(state: DeploymentState) -> DeploymentStatus:
    return state.overview().status


def test_a_deployment_starts_its_replicas_and_publishes_each_when_it_is_up():
    state = DeploymentState("d")
    assert state.handle(Deployed("1", 2, 3, 5.0), 0) == [StartReplica("d#1"), StartReplica("d#2")]
    assert status(state) == DeploymentStatus.UPDATING
    assert state.handle(ReplicaUp("d#2"), 1) == [Publish(("d#2",))]
    assert state.handle(ReplicaUp("d#1"), 1) == [Publish(("d#1", "d#2"))]
    assert status(state) == DeploymentStatus.HEALTHY


def test_a_lost_replica_is_unpublished_at_once_and_replaced():
    state = up()
    assert state.handle(ReplicaLost("d#1", "killed"), STABLE_S) == [
        Publish(()),
        StartReplica("d#2"),
    ]
    assert status(state) == DeploymentStatus.UNHEALTHY
    state.handle(ReplicaUp("d#2"), STABLE_S)
    assert status(state) == DeploymentStatus.HEALTHY


def test_a_constructor_that_always_raises_fails_the_deployment_after_the_allowed_starts():
    state, now = DeploymentState("d"), 0.0
    names = started(state.handle(Deployed("1", 1, 3, 5.0), now))
    for _ in range(2):
        assert state.handle(ReplicaLost(names[0], "ValueError: no"), now) == []
        now = state.next_tick(now) or 0
        names = started(state.handle(Tick(), now))
    assert state.handle(ReplicaLost(names[0], "ValueError: no"), now) == []
    assert status(state) == DeploymentStatus.DEPLOY_FAILED
    assert state.overview().message == "ValueError: no"
    assert state.next_tick(now) is None


def test_a_crash_loop_waits_longer_each_time_but_goes_on():
    state, now, waits = up(), 0.0, []
    for count in range(1, 13):
        assert started(state.handle(ReplicaLost(f"d#{count}", "boom"), now)) == []
        waits.append((state.next_tick(now) or 0) - now)
        now = state.next_tick(now) or 0
        assert started(state.handle(Tick(), now)) == [f"d#{count + 1}"]
        state.handle(ReplicaUp(f"d#{count + 1}"), now)
    assert waits == sorted(waits)
    assert waits[-1] == 30.0


def test_a_new_version_replaces_replicas_one_by_one_and_never_runs_fewer():
    state = up(2)
    assert state.handle(Deployed("2", 2, 3, 5.0), 1) == [StartReplica("d#3")]
    assert state.handle(ReplicaUp("d#3"), 2) == [
        Publish(("d#2", "d#3")),
        DrainReplica("d#1"),
        StartReplica("d#4"),
    ]
    assert status(state) == DeploymentStatus.UPDATING
    assert state.handle(ReplicaUp("d#4"), 2) == [Publish(("d#3", "d#4")), DrainReplica("d#2")]
    assert state.handle(Drained("d#1"), 3) == [StopReplica("d#1")]
    assert status(state) == DeploymentStatus.HEALTHY


def test_what_a_replica_waits_for_is_told_until_it_has_it():
    state = DeploymentState("d")
    state.handle(Deployed("1", 1, 3, 5.0), 0)
    state.handle(Starved("d#1", "CPU: 1"), 1)
    assert state.overview().message == "replica d#1 waits for room: CPU: 1"
    state.handle(ReplicaUp("d#1"), 2)
    state.handle(Starved("d#1", "late news"), 3)
    assert state.overview().message == ""


def test_without_room_for_both_versions_the_old_replica_ends_first():
    state = up()
    state.handle(Deployed("2", 1, 3, 5.0), 1)
    assert state.handle(Starved("d#2"), 1) == [Publish(()), DrainReplica("d#1")]
    assert state.handle(Starved("d#2"), 1) == []
    state.handle(Drained("d#1"), 2)
    state.handle(ReplicaLost("d#1", ""), 2)
    assert state.handle(ReplicaUp("d#2"), 3) == [Publish(("d#2",))]


def test_a_version_that_does_not_start_leaves_the_old_one_serving():
    state, now = up(), 0.0
    name = started(state.handle(Deployed("2", 1, 1, 5.0), now))[0]
    assert state.handle(ReplicaLost(name, "bad"), now) == []
    assert status(state) == DeploymentStatus.DEPLOY_FAILED
    assert state._published == ("d#1",)


def rolled(at_a_time: int, surge: int | None) -> tuple[list[int], int]:
    """How many ran after each step of an update of four replicas, and the most that lived."""
    state, ran, most = up(4), [], 0
    commands = state.handle(Deployed("2", 4, 3, 5.0, at_a_time, surge), 1)
    living = 4
    while True:
        for command in commands:
            living -= isinstance(command, DrainReplica)
        starting = started(commands)
        most = max(most, living + len(starting))
        ran.append(living)
        if not starting:
            return ran, most
        for name in starting[:-1]:
            assert not started(state.handle(ReplicaUp(name), 1))
        living += len(starting)
        commands = state.handle(ReplicaUp(starting[-1]), 1)


def test_a_new_version_comes_so_many_at_a_time_and_old_ones_end_first_where_none_may_be_beyond():
    assert rolled(1, None) == ([4, 4, 4, 4, 4], 5)
    assert rolled(1, 0) == ([3, 3, 3, 3, 4], 4)
    assert rolled(4, 0) == ([0, 4], 4)


def test_with_a_surge_the_old_keep_running_while_there_is_no_room_for_the_new():
    state = up(4)
    assert started(state.handle(Deployed("2", 4, 3, 5.0, 4, 2), 1)) == ["d#5", "d#6"]
    assert state.handle(Starved("d#5"), 1) == []
    assert state.handle(ReplicaUp("d#5"), 1) == [
        Publish(("d#2", "d#3", "d#4", "d#5")),
        DrainReplica("d#1"),
        StartReplica("d#7"),
    ]


def test_a_replica_that_does_not_drain_in_time_is_stopped():
    state = up()
    assert state.handle(Removed(), 10) == [Publish(()), DrainReplica("d#1")]
    assert state.next_tick(10) == 15
    assert state.handle(Tick(), 14.9) == []
    assert state.handle(Tick(), 15) == [StopReplica("d#1")]
    assert not state.is_gone
    state.handle(ReplicaLost("d#1", ""), 16)
    assert state.is_gone


def test_the_same_version_with_another_number_only_scales():
    state = up(1)
    assert state.handle(Deployed("1", 3, 3, 5.0), 1) == [StartReplica("d#2"), StartReplica("d#3")]
    assert state.handle(Deployed("1", 1, 3, 5.0), 1) == [StopReplica("d#2"), StopReplica("d#3")]


def test_states_that_share_their_numbers_never_name_two_replicas_alike():
    numbers = itertools.count(7)
    first, second = DeploymentState("d", numbers), DeploymentState("d", numbers)
    names = [started(each.handle(Deployed("1", 1, 3, 5.0), 0)) for each in (first, second)]
    assert names == [["d#7"], ["d#8"]]


# Named, since old versions of Hypothesis spend minutes on the source of lambdas.
def some_start(machine: Histories) -> bool:
    return bool(machine.starting)


def some_drain(machine: Histories) -> bool:
    return bool(machine.draining)


def some_live(machine: Histories) -> bool:
    return bool(machine.starting + machine.running + machine.draining + machine.stopping)


class Histories(RuleBasedStateMachine):
    """Any order of deploys, ups, losses, drains and ticks keeps the rules and ends well."""

    def __init__(self) -> None:
        super().__init__()
        self.state = DeploymentState("d")
        self.now = 0.0
        self.starting: list[str] = []
        self.running: list[str] = []
        self.draining: list[str] = []
        self.stopping: list[str] = []
        self.published: tuple[str, ...] = ()

    def feed(self, event: Event) -> None:
        for command in self.state.handle(event, self.now):
            match command:
                case StartReplica(name):
                    self.starting.append(name)
                case DrainReplica(name):
                    assert name not in self.published
                    self.running.remove(name)
                    self.draining.append(name)
                case StopReplica(name):
                    where = next(x for x in (self.starting, self.draining) if name in x)
                    where.remove(name)
                    self.stopping.append(name)
                case Publish(names):
                    assert names != self.published
                    self.published = names

    @rule(
        version=st.sampled_from("abc"),
        count=st.integers(1, 3),
        allowed=st.integers(1, 3),
        at_a_time=st.integers(1, 3),
        surge=st.sampled_from([None, 0, 1, 3]),
    )
    def deploy(
        self, version: str, count: int, allowed: int, at_a_time: int, surge: int | None
    ) -> None:
        self.feed(Deployed(version, count, allowed, 5.0, at_a_time, surge))

    @rule()
    def remove(self) -> None:
        self.feed(Removed())

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.feed(Tick())

    @precondition(some_start)
    @rule(data=st.data())
    def up(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.starting))
        self.starting.remove(name)
        self.running.append(name)
        self.feed(ReplicaUp(name))

    @precondition(some_start)
    @rule(data=st.data())
    def starve(self, data: st.DataObject) -> None:
        self.feed(Starved(data.draw(st.sampled_from(self.starting))))

    @precondition(some_drain)
    @rule(data=st.data())
    def drained(self, data: st.DataObject) -> None:
        self.feed(Drained(data.draw(st.sampled_from(self.draining))))

    @precondition(some_live)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        alive = self.starting + self.running + self.draining + self.stopping
        name = data.draw(st.sampled_from(alive))
        for group in (self.starting, self.running, self.draining, self.stopping):
            if name in group:
                group.remove(name)
        self.feed(ReplicaLost(name, "lost"))

    @rule(event=st.sampled_from([ReplicaUp, Drained, Starved]), number=st.integers(0, 99))
    def late_news(self, event: type[ReplicaUp | Drained | Starved], number: int) -> None:
        name = f"d#{number}"
        if name not in self.starting + self.draining:
            self.feed(event(name))

    @invariant()
    def rules_hold(self) -> None:
        self.state.check()
        assert set(self.published) == set(self.running)

    def teardown(self) -> None:
        """Left alone, with replicas that come up and drain, it reaches what was asked for."""
        for _ in range(200):
            self.now += 31
            self.feed(Tick())
            for name in list(self.stopping):
                self.stopping.remove(name)
                self.feed(ReplicaLost(name, ""))
            for name in list(self.draining):
                self.feed(Drained(name))
            for name in list(self.starting):
                if name in self.starting:
                    self.starting.remove(name)
                    self.running.append(name)
                    self.feed(ReplicaUp(name))
        if not self.state.failed:
            assert len(self.running) == self.state.target.num_replicas
            assert self.starting + self.draining + self.stopping == []
            assert self.state.is_gone == self.state.removed or not self.state.removed


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
