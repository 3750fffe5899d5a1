"""Strategies and options of functions, parsed once."""

import pytest

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
