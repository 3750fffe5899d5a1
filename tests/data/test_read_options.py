"""What every reader takes, parsed once."""

import pytest

from heliostat.data._plan import Tasks
from heliostat.data.read_options import parse_place, pieces


def test_reads_are_tasks_of_their_own_only_if_something_was_said():
    assert parse_place({"override_num_blocks": 3, "include_paths": True}) is None
    assert parse_place({"num_cpus": 0.5}) == Tasks(None, (("num_cpus", 0.5),))
    place = parse_place({"concurrency": 2, "resources": {}, "ray_remote_args": {"num_gpus": 0}})
    assert place == Tasks(2, (("resources", {}), ("num_gpus", 0)))
    with pytest.raises(ValueError, match="num_cpus"):
        parse_place({"num_cpus": -1})
    with pytest.raises(NotImplementedError, match="max_calls=1"):
        parse_place({"max_calls": 1})


def test_the_older_name_of_the_number_of_blocks_still_counts():
    assert [pieces({}), pieces({"parallelism": -1}), pieces({"parallelism": 3})] == [None, None, 3]
    assert pieces({"override_num_blocks": 2, "parallelism": 3}) == 2
    for wrong in (0, True, "2"):
        with pytest.raises(ValueError, match="override_num_blocks"):
            pieces({"override_num_blocks": wrong})
