import pytest

import heliostat
from heliostat.train import RunConfig, ScalingConfig

torch = pytest.importorskip("torch")


@pytest.fixture(scope="session", autouse=True)
def store_was_used():
    """The first store of a process opens a pipe that libuv keeps."""
    torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.fixture(scope="module")
def local():
    """One session with worker processes, which have torch from birth, for all tests of a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELIOSTAT_PRELOAD", "asyncio,numpy,torch,heliostat")
        heliostat.init(num_cpus=2, num_gpus=0)
        yield
        heliostat.shutdown()


@pytest.fixture
def fit(local, tmp_path):
    """Run a loop on so many ranks; its Result."""
    from heliostat.train.torch import TorchTrainer

    def run(loop, size=2, *, run=None, **options):
        run_config = RunConfig(storage_path=tmp_path, verbose=0, **(run or {}))
        return TorchTrainer(
            loop,
            scaling_config=ScalingConfig(num_workers=size),
            run_config=run_config,
            **options,
        ).fit()

    return run
