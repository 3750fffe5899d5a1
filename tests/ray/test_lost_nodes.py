"""A node dies in the middle of each library's work: the result is right, or the error has a name."""

import time

import pytest

import heliostat as ray
from heliostat import data, serve, train, tune
from heliostat.exceptions import ActorDiedError, ObjectLostError, WorkerCrashedError
from heliostat.testing.clock import until
from heliostat.train.data_parallel_trainer import DataParallelTrainer
from heliostat.train.error import TrainingFailedError
from heliostat.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tests.ray import cluster

pytest.importorskip("ray.cluster_utils")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about itself
]


@pytest.fixture
def doomed(tmp_path):
    """The second of two nodes; the driver is on the first, which has room for all."""
    with cluster.nodes({"num_cpus": 4}, {"num_cpus": 4}, _system_config=cluster.WATCHFUL) as nodes:
        ray.init(nodes.address, log_to_driver=False)
        yield cluster.Doomed(nodes, tmp_path)


def test_tasks_of_core_run_again_and_values_are_made_again(doomed):
    here = doomed.says()

    @ray.remote(scheduling_strategy="SPREAD", max_retries=3)
    def square(x):
        if here():
            time.sleep(60)
        return [x * x] * 100_000

    with doomed:
        values = ray.get([square.remote(x) for x in range(6)], timeout=120)
    assert [value[0] for value in values] == [0, 1, 4, 9, 16, 25]
    assert doomed.was_busy


def test_an_actor_of_core_comes_back_elsewhere(doomed):
    here = doomed.says()

    @ray.remote(num_cpus=2, max_restarts=1, max_task_retries=-1)
    class Sleeper:
        def is_far(self):
            return ray.get_runtime_context().get_node_id() == far

        def sleep(self):
            if here():
                time.sleep(60)
            return "slept"

    far = doomed.id
    there = NodeAffinitySchedulingStrategy(far, soft=True)
    sleeper = Sleeper.options(scheduling_strategy=there).remote()
    assert ray.get(sleeper.is_far.remote(), timeout=60) is True
    with doomed:
        assert ray.get(sleeper.sleep.remote(), timeout=120) == "slept"
    assert ray.get(sleeper.is_far.remote(), timeout=60) is False


def test_an_actor_of_core_that_may_not_come_back_is_told_dead(doomed):
    @ray.remote(max_restarts=0)
    class Sleeper:
        def sleep(self):
            here()
            time.sleep(60)

    here = doomed.says()
    there = NodeAffinitySchedulingStrategy(doomed.id, soft=False)
    sleeper = Sleeper.options(scheduling_strategy=there).remote()
    with doomed, pytest.raises(ActorDiedError):
        ray.get(sleeper.sleep.remote(), timeout=120)


def test_data_gives_the_right_rows(doomed):
    here = doomed.says()

    def double(batch):
        if here():
            time.sleep(1)
        return {"id": batch["id"] * 2}

    with doomed:
        doubled = data.range(400, override_num_blocks=40).map_batches(double)
        total = doubled.sum("id")
    assert total == sum(2 * x for x in range(400))
    assert doomed.was_busy


@pytest.mark.parametrize("failures", [0, 2])
def test_train_goes_on_from_its_checkpoint_or_says_what_failed(doomed, failures, tmp_path):
    here = doomed.says()

    def loop():
        step = 0
        if (checkpoint := train.get_checkpoint()) is not None:
            step = checkpoint.get_metadata()["step"] + 1
        while step < 4:
            kept = tmp_path / f"kept {train.get_context().get_world_rank()}"
            kept.mkdir(exist_ok=True)
            checkpoint = train.Checkpoint.from_directory(kept)
            checkpoint.set_metadata({"step": step})
            train.report({"step": step}, checkpoint=checkpoint)
            if step == 2 and here():
                time.sleep(60)
            step += 1

    trainer = DataParallelTrainer(
        loop,
        scaling_config=train.ScalingConfig(num_workers=2, placement_strategy="SPREAD"),
        run_config=train.RunConfig(
            storage_path=str(tmp_path / "runs"),
            failure_config=train.FailureConfig(max_failures=failures),
        ),
    )
    with doomed:
        if failures:
            assert trainer.fit().metrics["step"] == 3
        else:
            with pytest.raises(TrainingFailedError):
                trainer.fit()
    assert doomed.was_busy


def test_tune_tries_again_what_was_lost(doomed, tmp_path):
    here = doomed.says()

    def objective(config):
        if here():
            time.sleep(60)
        time.sleep(0.5)
        tune.report({"loss": (config["x"] - 3) ** 2})

    with doomed:
        results = tune.Tuner(
            objective,
            param_space={"x": tune.grid_search(list(range(8)))},
            tune_config=tune.TuneConfig(metric="loss", mode="min"),
            run_config=tune.RunConfig(
                storage_path=str(tmp_path / "runs"),
                failure_config=tune.FailureConfig(max_failures=3),
            ),
        ).fit()
    assert results.get_best_result().config["x"] == 3
    assert [result.error for result in results] == [None] * 8
    assert doomed.was_busy


def test_serve_answers_on_from_the_replicas_that_are_left(doomed):
    here = doomed.says()

    @serve.deployment(num_replicas=4, ray_actor_options={"num_cpus": 1})
    class Echo:
        async def __call__(self, request):
            return "far" if here() else "near"

        async def where(self):
            return "far" if ray.get_runtime_context().get_node_id() == far else "near"

    far = doomed.id
    serve.start(http_options={"port": 0})
    handle = serve.run(Echo.bind())
    assert _answers(handle) == {"far", "near"}
    with doomed:
        pass  # goes now
    # What runs on a node lives on for a moment when Ray's part of it is killed.
    until(lambda: _answers(handle) == {"near"}, "only the other node answers", 60)
    until(lambda: _running(4), "four replicas run again", 60)
    serve.shutdown()


def _answers(handle):
    return {handle.where.remote().result(timeout_s=60) for _ in range(40)}


def _running(number):
    deployment = serve.status().applications["default"].deployments["Echo"]
    return deployment.replica_states.get("RUNNING", 0) == number


def test_a_value_that_only_the_node_had_is_told_lost(doomed):
    @ray.remote(max_retries=0)
    def large():
        return bytes(5_000_000)

    there = NodeAffinitySchedulingStrategy(doomed.id, soft=False)
    ref = large.options(scheduling_strategy=there).remote()
    ray.wait([ref], timeout=60, fetch_local=False)
    with doomed:
        pass
    with pytest.raises((ObjectLostError, WorkerCrashedError)):
        ray.get(ref, timeout=60)
