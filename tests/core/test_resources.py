"""Resources as arithmetic: nothing is made, lost, or given twice."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from heliostat._core.options import UNIT
from heliostat._core.options import Resources as Shape
from heliostat._core.resources import Supply, missing, missing_for, remedy

TOTAL = {"CPU": 4 * UNIT, "GPU": 3 * UNIT, "spoon": 2 * UNIT}


def shape(**amounts: float) -> Shape:
    return tuple((name, round(amount * UNIT)) for name, amount in sorted(amounts.items()))


def test_what_does_not_fit_takes_nothing() -> None:
    pool = Supply(TOTAL)
    assert pool.take(shape(CPU=1, spoon=3)) is None
    assert pool.free == TOTAL


def test_tenths_add_up_to_exactly_one() -> None:
    pool = Supply({"CPU": UNIT})
    for _ in range(10):
        assert pool.take(shape(CPU=0.1)) == ()
    assert pool.take(shape(CPU=0.0001)) is None


def test_fractions_share_the_fullest_gpu() -> None:
    pool = Supply(TOTAL)
    assert pool.take(shape(GPU=0.5)) == (0,)
    assert pool.take(shape(GPU=0.25)) == (0,)
    assert pool.take(shape(GPU=0.5)) == (1,)
    assert pool.take(shape(GPU=0.25)) == (0,)


def test_whole_gpus_are_never_shared() -> None:
    pool = Supply(TOTAL)
    pool.take(shape(GPU=0.5))
    assert pool.take(shape(GPU=2)) == (1, 2)
    assert pool.take(shape(GPU=1)) is None


def test_halves_on_every_gpu_leave_no_whole_one() -> None:
    pool = Supply({"GPU": 2 * UNIT})
    first = pool.take(shape(GPU=0.6))
    second = pool.take(shape(GPU=0.6))
    assert (first, second) == ((0,), (1,))
    assert pool.take(shape(GPU=0.5)) is None, "0.8 are free, but on no single GPU"


def test_a_lent_cpu_can_be_taken_and_is_owed_afterwards() -> None:
    pool = Supply({"CPU": UNIT})
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
    pool = Supply(TOTAL)
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


def test_bundles_are_supplies_of_their_own() -> None:
    pool = Supply(TOTAL)
    bundles = pool.take_bundles([shape(CPU=1, GPU=1), shape(GPU=0.5), shape(GPU=0.5, spoon=1)])
    assert bundles is not None
    first, second, third = bundles
    assert first.take(shape(CPU=0.5, GPU=0.5)) == (0,)
    assert first.take(shape(GPU=1)) is None
    assert second.take(shape(GPU=0.25)) == third.take(shape(GPU=0.5)) == (1,)
    assert pool.take(shape(GPU=1)) == (2,)


def test_bundles_are_taken_all_or_none_and_given_back() -> None:
    pool = Supply(TOTAL)
    assert pool.take_bundles([shape(CPU=3), shape(CPU=2)]) is None
    assert pool.free == TOTAL
    bundles = pool.take_bundles([shape(CPU=3), shape(CPU=1, GPU=2)])
    assert bundles is not None
    pool.give_bundles(bundles)
    assert pool.free == TOTAL
    assert pool.take(shape(GPU=3)) == (0, 1, 2)


def test_large_shares_are_laid_down_first() -> None:
    pool = Supply({"GPU": 2 * UNIT})
    bundles = pool.take_bundles([shape(GPU=amount) for amount in (0.4, 0.5, 0.5, 0.6)])
    assert bundles is not None


def test_what_bundles_miss_together_is_named() -> None:
    assert missing_for(TOTAL, [shape(CPU=2), shape(CPU=2, GPU=3)]) == ""
    assert missing_for(TOTAL, [shape(CPU=2), shape(CPU=3)]) == "CPU: 5 (there is 4)"
    assert "cannot be laid onto 3 GPUs" in missing_for(TOTAL, [shape(GPU=0.7)] * 4)


def test_the_remedy_names_the_argument_of_each_resource() -> None:
    assert (
        remedy(TOTAL, shape(CPU=4.5, GPU=4))
        == "start the session with init(num_cpus=5, num_gpus=4)"
    )
    assert remedy(TOTAL, shape(fork=0.1)) == "start the session with init(resources={'fork': 1})"
    assert "more memory" in remedy(TOTAL, shape(memory=1))


AMOUNTS = st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0, 3.0])
SHAPES = st.dictionaries(st.sampled_from(["CPU", "GPU", "spoon"]), AMOUNTS, max_size=3).map(
    lambda amounts: shape(**amounts)
)


class ResourceMachine(RuleBasedStateMachine):
    taken = Bundle("taken")
    groups = Bundle("groups")

    def __init__(self) -> None:
        super().__init__()
        self.pool = Supply(TOTAL)
        self.held: dict[int, tuple[Shape, tuple[int, ...], bool]] = {}
        self.made: dict[int, list[Supply]] = {}
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

    @rule(target=groups, wanted=st.lists(SHAPES.filter(bool), min_size=1, max_size=3))
    def take_bundles(self, wanted: list[Shape]) -> int:
        before = dict(self.pool.free)
        bundles = self.pool.take_bundles(wanted)
        self.next += 1
        if bundles is None:
            assert self.pool.free == before
        else:
            self.made[self.next] = bundles
        return self.next

    @rule(number=groups, index=st.integers(0, 2), wanted=SHAPES)
    def take_within(self, number: int, index: int, wanted: Shape) -> None:
        for bundle in self.made.get(number, [])[index : index + 1]:
            gpus = bundle.take(wanted)
            bundle.check()
            if gpus is not None:
                bundle.give(wanted, gpus)
            assert bundle.free == bundle.total

    @rule(number=consumes(groups))
    def give_bundles(self, number: int) -> None:
        if number in self.made:
            self.pool.give_bundles(self.made.pop(number))

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
            counted += sum(
                bundle.total.get(name, 0) for group in self.made.values() for bundle in group
            )
            assert self.pool.free[name] == total - counted

    def teardown(self) -> None:
        for bundles in self.made.values():
            self.pool.give_bundles(bundles)
        for wanted, gpus, lent in self.held.values():
            if lent:
                self.pool.reclaim(wanted)
            self.pool.give(wanted, gpus)
        assert self.pool.free == TOTAL


TestResources = ResourceMachine.TestCase
TestResources.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
