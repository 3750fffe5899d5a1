"""LoggingConfig and the other arguments of init that are about logging."""

import json
import logging

import pytest

import heliostat as ray
from heliostat._core.logging_config import parse


@pytest.fixture(params=["local", "inline"])
def engine(request):
    yield request.param
    ray.shutdown()


@ray.remote
def warn():
    logging.getLogger("mine").warning("careful: %s", "hot", extra={"degrees": 90})
    return ray.get_runtime_context().get_task_id()


@ray.remote
class Oven:
    def bake(self):
        logging.getLogger().info("baked")
        try:
            raise KeyError("salt")
        except KeyError:
            logging.exception("failed")
        return ray.get_runtime_context().get_actor_id()


def written(capfd):
    ray.shutdown()
    return capfd.readouterr().err.splitlines()


def test_records_are_json_objects_that_say_where_they_come_from(engine, capfd, monkeypatch):
    ray.init(
        engine=engine,
        num_cpus=1,
        logging_config=ray.LoggingConfig("JSON", additional_log_standard_attrs=["name"]),
    )
    logging.info("begin")
    task, actor = ray.get(warn.remote()), ray.get(Oven.options(name="hot").remote().bake.remote())
    begin, careful, baked, failed = map(json.loads, written(capfd))
    assert begin["message"] == "begin"
    assert "task_id" not in begin
    assert (careful["message"], careful["degrees"], careful["name"]) == ("careful: hot", 90, "mine")
    assert (careful["task_id"], careful["task_name"], careful["levelname"]) == (
        task, "warn", "WARNING",
    )  # fmt: skip
    assert careful["job_id"] == begin["job_id"] == baked["node_id"]
    assert (baked["actor_id"], baked["actor_name"]) == (actor, "hot")
    assert baked["task_name"] == "Oven.bake"
    assert failed["exc_text"].endswith("KeyError: 'salt'")


def test_records_are_lines_with_pairs(engine, capfd):
    ray.init(engine=engine, num_cpus=1, logging_config=ray.LoggingConfig(log_level="WARNING"))
    logging.info("not shown")
    task = ray.get(warn.remote())
    (line,) = written(capfd)
    assert "\tWARNING test_logging_config.py:" in line
    assert " -- careful: hot degrees=90 job_id=" in line
    assert f" task_id={task} task_name=warn" in line


def test_the_libraries_loggers_get_their_own_level_and_format(engine, capfd):
    ray.init(
        engine=engine, num_cpus=1, logging_level="DEBUG", logging_format="%(name)s|%(message)s"
    )

    @ray.remote
    def detail():
        logging.getLogger("heliostat.some_library").debug("in a worker")

    logging.getLogger("ray.data").debug("here")
    ray.get(detail.remote())
    lines = written(capfd)
    assert lines[0] == "ray.data|here"
    assert lines[1].endswith("heliostat.some_library|in a worker")


def test_logging_is_as_it_was_when_the_session_has_ended():
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    ray.init(engine="inline", logging_config=ray.LoggingConfig("JSON"))
    assert root.handlers != before[1]
    ray.shutdown()
    assert (root.level, root.handlers) == before


def test_configure_logging_false_leaves_logging_alone():
    assert parse(None, "DEBUG", None, configure=False) == ()
    with ray.init(engine="inline", logging_level="DEBUG", configure_logging=False):
        assert logging.getLogger("heliostat").level == logging.NOTSET


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"encoding": "XML"}, r"Invalid encoding type: XML\. Valid encoding types are: \['TEXT'"),
        ({"log_level": "LOUD"}, "log_level must be one of .*INFO.*, got 'LOUD'"),
        ({"additional_log_standard_attrs": ["x"]}, "Unknown python logging standard attribute: x"),
    ],
)
def test_mistakes_in_a_config_are_told(arguments, says):
    with pytest.raises(ValueError, match=says):
        ray.LoggingConfig(**arguments)


def test_mistakes_in_init_are_told():
    with pytest.raises(TypeError, match="logging_config must be a heliostat"):
        ray.init(logging_config={"encoding": "JSON"})
    with pytest.raises(ValueError, match="logging_level must be one of"):
        ray.init(logging_level="LOUD")
    with pytest.raises(TypeError, match="logging_format must be a string, got 3"):
        ray.init(logging_format=3)
    assert not ray.is_initialized()
