import functools

import pytest

import heliostat
from heliostat.train import RunConfig, ScalingConfig, TrainingFailedError, get_context, report

pytest.importorskip("jax")
from heliostat.train.jax import JaxConfig, JaxTrainer
from heliostat.train.v2.jax import JaxTrainer as RaysName


@pytest.fixture(scope="module", autouse=True)
def session():
    heliostat.init(num_cpus=2, num_gpus=0)
    yield
    heliostat.shutdown()


def fit(loop, tmp_path, size=2, **options):
    return JaxTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=size),
        run_config=RunConfig(storage_path=tmp_path, verbose=0),
        **options,
    ).fit()


def test_ranks_see_each_others_devices_and_average_gradients(tmp_path):
    def loop():
        import jax
        import jax.numpy as jnp
        from jax.experimental.multihost_utils import process_allgather

        rank = get_context().get_world_rank()
        weight = jnp.array(0.0)
        slope = jax.grad(lambda w: (w - rank) ** 2)
        for _ in range(20):
            weight -= 0.25 * process_allgather(slope(weight)).mean()
        report({
            "rank": jax.process_index(),
            "devices": jax.device_count() // jax.local_device_count(),
            "weight": round(float(weight), 3),
        })  # fmt: skip

    assert fit(loop, tmp_path).metrics == {"rank": 0, "devices": 2, "weight": 0.5}


def test_a_rank_that_raises_ends_those_that_wait_for_it(tmp_path):
    def loop():
        import jax.numpy as jnp
        from jax.experimental.multihost_utils import process_allgather

        if get_context().get_world_rank() == 1:
            raise ValueError("not today")
        process_allgather(jnp.array(1))

    with pytest.raises(TrainingFailedError, match=r"rank 1 of 2 failed.*\n.*not today"):
        fit(loop, tmp_path)


def test_one_rank_needs_no_coordinator(tmp_path):
    def loop():
        import jax

        return jax.process_count()

    assert fit(loop, tmp_path, size=1).return_value == 1


def test_what_it_computes_on_is_checked(tmp_path):
    assert RaysName is JaxTrainer
    with pytest.raises(NotImplementedError, match="use_tpu"):
        JaxConfig(use_tpu=True)
    with pytest.raises(TypeError, match="JaxConfig"):
        fit(print, tmp_path, jax_config={"use_gpu": True})
    trainer = functools.partial(JaxTrainer, print)
    assert trainer(scaling_config=ScalingConfig(use_gpu=True)).backend_config == JaxConfig(
        use_gpu=True
    )
    assert trainer().backend_config == JaxConfig()
