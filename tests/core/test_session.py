"""What init() accepts has its effect; what would have none is refused."""

import platform
import tempfile

import pytest

import heliostat as ray


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("_metrics_export_port", 8080),
        ("_system_config", {"x": 1}),
        ("cgroup_path", "/x"),
        ("system_reserved_cpu", 1.0),
        ("proxy_server_url", "http://x"),
    ],
)
def test_init_refuses_by_name_what_would_have_no_effect(argument: str, value: object) -> None:
    with pytest.raises(NotImplementedError, match=argument):
        ray.init(engine="inline", **{argument: value})
    assert not ray.is_initialized()


def test_init_takes_ray_s_arguments_as_far_as_they_ask_for_nothing() -> None:
    nothing = dict.fromkeys(["cgroup_path", "proxy_server_url", "system_reserved_memory"])
    with ray.init(engine="inline", **nothing) as context:
        assert context.python_version == platform.python_version()
        assert context.ray_version == ray.__version__


def test_a_namespace_is_a_string() -> None:
    with pytest.raises(TypeError, match="namespace must be a string, got 5"):
        ray.init(engine="inline", namespace=5)
    assert not ray.is_initialized()


def test_the_temporary_files_of_a_machine_are_under_one_directory() -> None:
    ray.init(engine="inline")
    assert ray.get_runtime_context().get_temp_dir() == tempfile.gettempdir()
    ray.shutdown()
