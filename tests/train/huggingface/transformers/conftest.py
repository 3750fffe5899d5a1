import pytest

import heliostat

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")


@pytest.fixture(scope="session", autouse=True)
def store_was_used():
    """The first store of a process opens a pipe that libuv keeps."""
    torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.fixture(scope="module")
def local(torchvision_anywhere):
    """Ranks that have Transformers from birth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELIOSTAT_PRELOAD", "asyncio,numpy,torch,transformers,accelerate,heliostat")
        heliostat.init(num_cpus=2, num_gpus=0)
        yield
        heliostat.shutdown()
