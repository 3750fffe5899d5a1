"""Resources as arithmetic: nothing is made, lost, or given twice."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from heliostat._core.options import UNIT
from heliostat._engines.local.messages import Shape
from heliostat._engines.local.resources import Resources, missing

TOTAL = {"CPU": 4 * UNIT, "GPU": 3 * UNIT, "spoon": 2 * UNIT}


def shape(**amounts: float) -> Shape:
    return tuple((name, round(amount * UNIT)) for name, amount in sorted(amounts.items()))


def test_what_does_not_fit_takes_nothing() -> None:
    pool = Resources(TOTAL)
    assert pool.take(shape(CPU=1, spoon=3)) is None
    assert pool.free == TOTAL


def test_tenths_add_up_to_exactly_one() -> None:
    pool = Resources({"CPU": UNIT})
    for _ in range(10):
        assert pool.take(shape(CPU=0.1)) == ()
    assert pool.take(shape(CPU=0.0001)) is None


def test_fractions_share_the_fullest_gpu() -> None:
    pool = Resources(TOTAL)
    assert pool.take(shape(GPU=0.5)) == (0,)
    assert pool.take(shape(GPU=0.25)) == (0,)
    assert pool.take(shape(GPU=0.5)) == (1,)
    assert pool.take(shape(GPU=0.25)) == (0,)


def test_whole_gpus_are_never_shared() -> None:
    pool = Resources(TOTAL)
    pool.take(shape(GPU=0.5))
    assert pool.take(shape(GPU=2)) == (1, 2)
    assert pool.take(shape(GPU=1)) is None


def test_halves_on_every_gpu_leave_no_whole_one() -> None:
    pool = Resources({"GPU": 2 * UNIT})
    first = pool.take(shape(GPU=0.6))
    second = pool.take(shape(GPU=0.6))
    assert (first, second) == ((0,), (1,))
    assert pool.take(shape(GPU=0.5)) is None, "0.8 are free, but on no single GPU"


def test_a_lent_cpu_can_be_taken_and_is_owed_afterwards() -> None:
    pool = Resources({"CPU": UNIT})
    one = shape(CPU=1)
    assert pool.take(one) == ()
    pool.lend(one)
    assert pool.take(one) == ()
    pool.reclaim(one)
    assert pool.free["CPU"] == -UNIT
    assert pool.take(shape(CPU=0.1)) is None
    pool.give(one, ())
    pool.give(one, ())
    assert pool.free["CPU"] == UNIT


def test_only_cpus_are_lent() -> None:
    pool = Resources(TOTAL)
    both = shape(CPU=1, GPU=1)
    pool.take(both)
    pool.lend(both)
    assert pool.free == {"CPU": 4 * UNIT, "GPU": 2 * UNIT, "spoon": 2 * UNIT}


def test_missing_names_each_resource_that_can_never_be_there() -> None:
    assert missing(TOTAL, shape(CPU=4, GPU=3)) == ""
    words = missing(TOTAL, shape(CPU=5, fork=1))
    assert "CPU: 5 (there is 4)" in words
    assert "fork: 1 (there is 0)" in words
    assert "GPU" not in words


AMOUNTS = st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0, 3.0])
SHAPES = st.dictionaries(st.sampled_from(["CPU", "GPU", "spoon"]), AMOUNTS, max_size=3).map(
    lambda amounts: shape(**amounts)
)


class ResourceMachine(RuleBasedStateMachine):
    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.pool = Resources(TOTAL)
        self.held: dict[int, tuple[Shape, tuple[int, ...], bool]] = {}
        self.next = 0

    @rule(target=taken, wanted=SHAPES)
    def take(self, wanted: Shape) -> int:
        before = dict(self.pool.free)
        gpus = self.pool.take(wanted)
        self.next += 1
        if gpus is None:
            assert self.pool.free == before
            return -1
        assert len(set(gpus)) == len(gpus)
        self.held[self.next] = wanted, gpus, False
        return self.next

    @rule(number=consumes(taken))
    def give(self, number: int) -> None:
        if number in self.held:
            wanted, gpus, lent = self.held.pop(number)
            if lent:
                self.pool.reclaim(wanted)
            self.pool.give(wanted, gpus)

    @rule(number=taken)
    def block_or_resume(self, number: int) -> None:
        if number in self.held:
            wanted, gpus, lent = self.held[number]
            (self.pool.reclaim if lent else self.pool.lend)(wanted)
            self.held[number] = wanted, gpus, not lent

    @invariant()
    def is_sane(self) -> None:
        self.pool.check()
        on_gpu = [0, 0, 0]
        for wanted, gpus, _ in self.held.values():
            for index in gpus:
                on_gpu[index] += min(dict(wanted)["GPU"], UNIT)
        assert all(units <= UNIT for units in on_gpu)
        for name, total in TOTAL.items():
            counted = sum(
                dict(wanted).get(name, 0)
                for wanted, _, lent in self.held.values()
                if not (lent and name == "CPU")
            )
            assert self.pool.free[name] == total - counted

    def teardown(self) -> None:
        for wanted, gpus, lent in self.held.values():
            if lent:
                self.pool.reclaim(wanted)
            self.pool.give(wanted, gpus)
        assert self.pool.free == TOTAL


TestResources = ResourceMachine.TestCase
TestResources.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
