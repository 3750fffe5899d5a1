"""Which engine a session runs on, and where its cluster is."""

import platform

import pytest

import heliostat as ray


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_a_cluster_and_an_engine_of_this_machine_contradict_each_other(engine: str) -> None:
    with pytest.raises(ValueError, match=rf"address='auto'.*{engine} engine"):
        ray.init("auto", engine=engine)
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    "size", [{"num_cpus": 2}, {"num_gpus": 1}, {"resources": {"spoon": 1}}, {"labels": {"a": "b"}}]
)
def test_a_cluster_has_its_own_size(size: dict[str, object]) -> None:
    (name,) = size
    with pytest.raises(ValueError, match=rf"init\(address='auto'\).*{name}"):
        ray.init("auto", **size)  # type: ignore[arg-type]
    assert not ray.is_initialized()


def test_sizes_in_a_program_that_the_environment_sends_to_a_cluster_are_said_to_be_unused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HELIOSTAT_ADDRESS", "127.0.0.1:1")
    with pytest.raises((ImportError, ConnectionError)):
        ray.init(num_cpus=2)
    assert "num_cpus: the cluster at 127.0.0.1:1 has its own" in capsys.readouterr().err


def test_an_argument_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOSTAT_ADDRESS", "auto")
    with ray.init("local", engine="inline") as context:
        assert context["address"] == "local"
    monkeypatch.delenv("HELIOSTAT_ADDRESS")
    monkeypatch.setenv("HELIOSTAT_ENGINE", "inline")
    assert ray.get(ray.remote(platform.node).remote()) == platform.node()
    assert ray.get_runtime_context().get_job_id() == ray.get_runtime_context().get_node_id()
    ray.shutdown()


def test_an_address_is_a_string() -> None:
    with pytest.raises(TypeError, match="address must be a string or None, got 5"):
        ray.init(5)  # type: ignore[arg-type]
