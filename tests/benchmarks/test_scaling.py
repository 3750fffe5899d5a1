"""The simulator around the deciders, and the page that has its tables."""

from collections import deque

import pytest

from benchmarks import scaling
from benchmarks.scaling import Begun, Cost
from heliostat._engines.local.scheduling import worker_scheduler


def as_many_as(nodes: int) -> Begun:
    """What starts a piece of work for each that ends."""
    return Begun(deque(range(nodes)), lambda work: [work])


def test_a_decider_that_costs_nothing_keeps_all_nodes_at_work():
    seen = scaling.simulate(as_many_as(10), 0.0, 500)
    assert seen == (0.0, 0, 1.0)


def test_nodes_beyond_what_a_decider_can_do_are_idle():
    # A hundred nodes that work for a second each, and ten decisions a second.
    seen = scaling.simulate(as_many_as(100), 0.1, 2000)
    assert 0.08 < seen.busy < 0.12
    assert seen.longest > 80


@pytest.mark.parametrize("name", scaling.DECIDERS)
def test_every_decider_goes_on_for_as_long_as_it_is_told_of_ends(name):
    cost = scaling.measured(lambda: scaling.DECIDERS[name](10, 50), 10, 50)
    assert cost.decision_us > 0
    assert cost.bytes_per_node > 0


@pytest.mark.parametrize("name", ["scheduler", "pipeline"])
def test_work_is_given_to_every_node_and_to_no_more(name, monkeypatch):
    monkeypatch.setattr(worker_scheduler, "MOST_WORKERS", 10)  # put back at the end
    works, ended = scaling.DECIDERS[name](30, 50)
    assert len(works) == 30
    for _ in range(50):
        works.extend(ended(works.popleft()))
    assert len(works) == 30


def test_a_decider_is_full_where_its_load_is_one():
    assert scaling.full_at([10, 100], [0.1, 10.0]) == pytest.approx(10**1.5)
    assert scaling.full_at([10, 100], [0.1, 0.9]) is None


def test_what_surrounds_a_decision_is_spent_on_any_number_of_nodes():
    assert scaling.altogether_us(50.0, [Cost(20.0, 0), Cost(30.0, 0)]) == [50.0, 60.0]
    assert scaling.altogether_us(0.0, [Cost(20.0, 0), Cost(30.0, 0)]) == [20.0, 30.0]


def test_callers_that_know_their_own_requests_only_spread_them_less_well():
    alone, many = scaling.queues(20, 1, 2000), scaling.queues(20, 20, 2000)
    assert alone.mean < many.mean


def test_the_page_has_the_tables_that_the_program_prints():
    page = scaling.PAGE.read_text()
    costs = {name: [Cost(1.0, 1.0)] for name in scaling.DECIDERS}
    constants = dict.fromkeys(scaling.DECIDERS, 1.0)
    for first in (
        scaling.costs_table(costs, [10])[0],
        scaling.events_table(costs, constants, [10])[0],
        scaling.queues_table([10], 100)[0],
        *(line[:22] for line in scaling.loads_table(costs, constants, [10])),
    ):
        assert f"\n{first}" in page
    assert scaling.put(page, "costs", ["a"]) != page


def test_a_table_without_its_place_is_refused():
    with pytest.raises(ValueError, match="<!-- costs -->"):
        scaling.put("", "costs", ["a"])
