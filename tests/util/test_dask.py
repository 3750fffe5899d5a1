"""Dask's graphs run as tasks, and give what Dask's own scheduler gives."""

from operator import add

import pytest

import heliostat as ray

dask = pytest.importorskip("dask")

from heliostat.util.dask import (  # noqa: E402 - only where Dask is
    ProgressBarCallback,
    RayDaskCallback,
    disable_dask_on_ray,
    enable_dask_on_ray,
    ray_dask_get,
    ray_dask_get_sync,
    ray_dask_persist,
)


@pytest.fixture(scope="module", autouse=True)
def session():
    ray.shutdown()
    with ray.init(num_cpus=2, resources={"rack": 1}):
        yield


@dask.delayed
def inc(x):
    return x + 1


@dask.delayed
def process():
    return ray.get_runtime_context().get_task_name()


def test_a_graph_of_tuples_gives_values_as_its_keys_are_nested():
    graph = {"x": 1, "y": (add, "x", 10), ("z", 0): (sum, ["x", "y", (add, "y", "y")]), "w": "y"}
    assert ray_dask_get(graph, [["y", ("z", 0)], "x"]) == ((11, 34), 1)
    assert ray_dask_get_sync(graph, "w") == 11


def test_delayed_functions_run_as_tasks_by_their_names():
    total = dask.delayed(sum)([inc(n) for n in range(5)])
    assert total.compute(scheduler=ray_dask_get) == 15
    assert process().compute(scheduler=ray_dask_get) == "dask:process"


def test_a_task_s_error_is_its_own():
    @dask.delayed
    def fail():
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        inc(fail()).compute(scheduler=ray_dask_get)


def test_options_of_some_tasks_and_of_all():
    with dask.annotate(ray_remote_args={"resources": {"rack": 1}, "name": "annotated"}):
        one = process()
    assert one.compute(scheduler=ray_dask_get) == "annotated"
    with pytest.raises(ray.exceptions.TaskUnschedulableError, match="rock"):
        inc(1).compute(scheduler=ray_dask_get, ray_remote_args={"resources": {"rock": 1}})


def test_dask_computes_here_while_it_is_told_to():
    with enable_dask_on_ray():
        assert process().compute() == "dask:process"
    enable_dask_on_ray()
    assert process().compute() == "dask:process"
    disable_dask_on_ray()
    assert not str(process().compute()).startswith("dask:")


def test_what_persists_stays_in_the_object_store():
    (kept,) = ray_dask_persist(inc(1))
    assert isinstance(kept.dask[kept.key], ray.ObjectRef) or "ObjectRef" in repr(
        kept.dask[kept.key]
    )
    assert inc(kept).compute(scheduler=ray_dask_get) == 3


def test_callbacks_are_told_of_every_moment():
    told = []
    hooks = RayDaskCallback(
        ray_presubmit=lambda task, key, deps: told.append("presubmit"),
        ray_postsubmit=lambda task, key, deps, ref: told.append("postsubmit"),
        ray_postsubmit_all=lambda refs, dsk: told.append(len(refs)),
        ray_finish=told.append,
    )
    with hooks:
        assert inc(inc(1)).compute(scheduler=ray_dask_get, optimize_graph=False) == 3
    assert told[-2:] in ([1, (3,)], [1, 3])
    assert told[:4] == ["presubmit", "postsubmit"] * 2
    instead = RayDaskCallback(ray_presubmit=lambda task, key, deps: 7)
    assert inc(1).compute(scheduler=ray_dask_get, ray_callbacks=[instead]) == 7
    with pytest.raises(TypeError, match="no hook 'ray_nothing'"):
        RayDaskCallback(ray_nothing=print)


def test_callbacks_of_workers_see_values_and_their_own_state():
    class Twice(RayDaskCallback):
        def _ray_pretask(self, key, object_refs):
            return list(object_refs)

        def _ray_posttask(self, key, result, pre_state):
            assert pre_state in ([], [2]), pre_state

    with Twice():
        assert inc(inc(1)).compute(scheduler=ray_dask_get, optimize_graph=False) == 3


def test_a_progress_bar_follows_until_the_end():
    with ProgressBarCallback():
        assert dask.delayed(sum)([inc(n) for n in range(3)]).compute(scheduler=ray_dask_get) == 6


def test_arrays_of_dataframes_give_the_same():
    frames = pytest.importorskip("dask.dataframe")
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2, 3, 4] * 25, "b": range(100)})
    split = frames.from_pandas(frame, npartitions=4)
    wanted = frame.groupby("a").b.sum()
    assert split.groupby("a").b.sum().compute(scheduler=ray_dask_get).to_dict() == wanted.to_dict()


def test_each_callback_is_given_its_own_state_though_another_has_none(tmp_path):
    path = str(tmp_path / "told")

    def tell(key, result, state):
        with open(path, "a") as file:
            print(state, file=file)

    first = RayDaskCallback(ray_posttask=tell)
    second = RayDaskCallback(ray_pretask=lambda key, refs: "second", ray_posttask=tell)
    with first, second:
        ray_dask_get({"y": (add, 1, 10)}, ["y"])
    with open(path) as file:
        assert file.read().split() == ["None", "second"]


def test_a_hook_without_its_beginning_is_refused():
    with pytest.raises(TypeError, match="there is no hook 'presubmit'; there are ray_presubmit"):
        RayDaskCallback(presubmit=print)
