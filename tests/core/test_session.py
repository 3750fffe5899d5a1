"""What init() accepts has its effect; what would have none is refused."""

import pytest

import heliostat as ray


@pytest.mark.parametrize(
    ("argument", "value"),
    [("_metrics_export_port", 8080), ("_system_config", {"x": 1})],
)
def test_init_refuses_by_name_what_would_have_no_effect(argument: str, value: object) -> None:
    with pytest.raises(NotImplementedError, match=argument):
        ray.init(engine="inline", **{argument: value})
    assert not ray.is_initialized()
