"""Strategies and options of functions, parsed once."""

import os

import pytest

import heliostat as ray
from heliostat.data._plan import Actors, Tasks
from heliostat.data.compute import ActorPoolStrategy, TaskPoolStrategy, parse_udf


class Model:
    """A callable class."""

    def __call__(self, batch):
        return batch


@pytest.mark.parametrize(
    ("fn", "options", "place"),
    [
        (abs, {}, Tasks()),
        (abs, {"compute": "tasks"}, Tasks()),
        (abs, {"concurrency": 3}, Tasks(3)),
        (abs, {"compute": TaskPoolStrategy(2), "num_cpus": 0.5}, Tasks(2, (("num_cpus", 0.5),))),
        (Model(), {}, Tasks()),
        (Model, {}, Actors(1, None, 1)),
        (Model, {"compute": "actors"}, Actors(1, None, 1)),
        (Model, {"concurrency": 2}, Actors(2, 2, 2)),
        (Model, {"concurrency": (1, 4)}, Actors(1, 4, 1)),
        (Model, {"concurrency": (1, 4, 2), "num_gpus": 0}, Actors(1, 4, 2, 2, (("num_gpus", 0),))),
        (
            Model,
            {"compute": ActorPoolStrategy(size=2, max_tasks_in_flight_per_actor=5)},
            Actors(2, 2, 2, 5),
        ),
    ],
)
def test_every_way_to_say_where_means_one_place(fn, options, place):
    assert parse_udf(fn, options)[1] == place


@pytest.mark.parametrize(
    "sizes",
    [
        {"size": 0},
        {"size": 1, "max_size": 2},
        {"min_size": 3, "max_size": 2},
        {"min_size": 1, "max_size": 2, "initial_size": 3},
    ],
)
def test_sizes_that_contradict_each_other_are_refused(sizes):
    with pytest.raises(ValueError, match="size"):
        ActorPoolStrategy(**sizes)


@pytest.mark.parametrize(
    ("fn", "options", "error", "said"),
    [
        (object, {}, TypeError, "no __call__ method"),
        (abs, {"fn_kwargs": [1]}, TypeError, r"fn_kwargs must be a dict.*\[1\]"),
        (abs, {"num_returns": 2}, ValueError, "num_returns says nothing here"),
        (abs, {"max_calls": -1}, ValueError, "max_calls"),
        (abs, {"ray_remote_args_fn": 5}, TypeError, "must be a function, got 5"),
    ],
)
def test_what_makes_no_sense_of_a_function_is_told_at_once(fn, options, error, said):
    with pytest.raises(error, match=said):
        parse_udf(fn, options)


def test_a_worker_is_renewed_after_so_many_calls():
    ds = ray.data.range(6, override_num_blocks=3)
    pids = ds.map_batches(lambda batch: {"pid": [os.getpid()]}, max_calls=1).take_all()
    assert len({row["pid"] for row in pids}) == len(pids) == 3


@pytest.mark.parametrize("compute", [None, 2])
def test_further_options_are_asked_for_before_each_start(compute):
    asked = []

    def further():
        asked.append(1)
        return {"runtime_env": {"env_vars": {"TOLD": str(len(asked))}}}

    class Told:
        def __call__(self, batch):
            return {"told": [os.environ["TOLD"]]}

    fn = Told() if compute is None else Told
    ds = ray.data.range(6, override_num_blocks=3)
    rows = ds.map_batches(fn, concurrency=compute, ray_remote_args_fn=further).take_all()
    assert len(rows) == 3
    assert {row["told"] for row in rows} <= {str(number + 1) for number in range(len(asked))}
    assert len(asked) == (compute or 3)
