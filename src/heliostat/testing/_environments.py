"""The suite's tests of `runtime_env`: what a task sees of it, who inherits it, what is refused."""

# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg"

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat.exceptions import RuntimeEnvSetupError
from heliostat.runtime_env import RuntimeEnv, RuntimeEnvConfig
from heliostat.testing._session import SharedSession, with_session, without_session

_X, _Y = "HELIOSTAT_SUITE_X", "HELIOSTAT_SUITE_Y"


def _both() -> tuple[str | None, str | None]:
    return os.environ.get(_X), os.environ.get(_Y)


def _variables(**values: str) -> dict[str, Any]:
    return {"env_vars": {f"HELIOSTAT_SUITE_{name}": value for name, value in values.items()}}


class EnvironmentTests(SharedSession):
    """What processes are born with, and what tasks and actors see of it."""

    def test_a_task_sees_the_variables_it_asked_for(self) -> None:
        both = ray.remote(_both)
        assert ray.get(both.options(runtime_env=_variables(X="1")).remote()) == ("1", None)
        assert ray.get(both.remote()) == (None, None)
        assert _both() == (None, None)

    def test_an_actor_sees_the_variables_it_asked_for_in_every_call(self) -> None:
        @ray.remote(runtime_env=_variables(X="1"))
        class Actor:
            def __init__(self) -> None:
                self.at_first = _both()

            def look(self) -> list[Any]:
                return [self.at_first, _both()]

        actor = Actor.remote()
        assert ray.get(actor.look.remote()) == [("1", None)] * 2
        assert ray.get(actor.look.remote()) == [("1", None)] * 2

    def test_a_child_inherits_the_variables_and_may_change_some(self) -> None:
        @ray.remote
        def parent() -> list[Any]:
            both = ray.remote(_both)
            changed = both.options(runtime_env=_variables(Y="2"))
            return ray.get([both.remote(), changed.remote(), both.remote()])

        asking = parent.options(runtime_env=_variables(X="1", Y="1"))
        assert ray.get(asking.remote()) == [("1", "1"), ("1", "2"), ("1", "1")]

    @without_session
    def test_the_environment_of_the_session_is_everybodys(self) -> None:
        ray.init(engine=self.engine, num_cpus=1, runtime_env=_variables(X="1"))
        both = ray.remote(_both)
        assert ray.get(both.remote()) == ("1", None)
        assert ray.get(both.options(runtime_env=_variables(Y="2")).remote()) == ("1", "2")
        assert ray.get_runtime_context().runtime_env == _variables(X="1")

    def test_options_replace_the_environment_of_the_decorator(self) -> None:
        both = ray.remote(runtime_env=_variables(X="1"))(_both)
        assert ray.get(both.options(runtime_env=_variables(Y="2")).remote()) == (None, "2")

    def test_a_variable_may_be_built_on_the_one_that_is_there(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(_Y, "a")
        env = {"env_vars": {_X: f"${{{_Y}}}:b", f"{_X}2": "${HELIOSTAT_SUITE_NONE}c"}}

        @ray.remote(runtime_env=env)
        def look() -> list[str]:
            return [os.environ[_X], os.environ[f"{_X}2"]]

        assert ray.get(look.remote()) == ["a:b", "c"]

    def test_the_runtime_context_tells_the_environment(self) -> None:
        @ray.remote(runtime_env=_variables(X="1"))
        def look() -> tuple[RuntimeEnv, str]:
            context = ray.get_runtime_context()
            return context.runtime_env, context.get_runtime_env_string()

        env, text = ray.get(look.remote())
        assert env == _variables(X="1")
        assert json.loads(text) == env
        assert ray.get_runtime_context().runtime_env == {}

    def test_an_environment_of_nothing_is_none(self) -> None:
        both = ray.remote(_both)
        assert ray.get(both.options(runtime_env={}).remote()) == (None, None)
        assert ray.get(both.options(runtime_env={"env_vars": {}}).remote()) == (None, None)
        assert ray.get(both.options(runtime_env=None).remote()) == (None, None)

    @pytest.mark.parametrize(
        ("env", "error", "named"),
        [
            ({"conda": "base"}, NotImplementedError, "'conda'.*py_executable"),
            ({"container": {"image": "x"}}, NotImplementedError, "'container'.*inside"),
            ({"image_uri": "x"}, NotImplementedError, "'image_uri'.*inside"),
            ({"nsight": "default"}, NotImplementedError, "nsight.*nsys"),
            ({"java_jars": ["x"]}, NotImplementedError, "'java_jars'"),
            ({"colour": "red"}, ValueError, "'colour'.*'red'.*env_vars"),
            ({"env_vars": {"A": 1}}, TypeError, "'A': 1.*'A': '1'"),
            ({"env_vars": {"A=B": "1"}}, ValueError, "A=B"),
            ({"working_dir": "/no/such/place"}, ValueError, "/no/such/place"),
            ({"working_dir": "s3://bucket/x.zip"}, NotImplementedError, "s3://.*download"),
            ({"py_modules": "one"}, TypeError, "'py_modules'.*list"),
            ({"py_modules": [sys]}, ValueError, "sys"),
            ({"pip": ["a"], "uv": ["b"]}, ValueError, "pip.*uv.*one of them"),
            ({"pip": {"packages": ["a"], "x": 1}}, ValueError, "'pip'.*'x'.*pip_version"),
            ({"uv": {"uv_check": True}}, ValueError, "'uv'.*'packages'"),
            ({"pip": 3}, TypeError, "'pip'.*3"),
            ({"worker_process_setup_hook": "x"}, ValueError, "'x'.*package.module.function"),
            ({"worker_process_setup_hook": 3}, TypeError, "worker_process_setup_hook.*3"),
            ({"config": {"x": 1}}, ValueError, "'x'.*setup_timeout_seconds"),
            ({"config": {"setup_timeout_seconds": 0}}, ValueError, "setup_timeout_seconds.*0"),
            ("x", TypeError, "runtime_env.*'x'"),
        ],
    )
    def test_what_cannot_be_is_refused_where_it_is_asked_for(
        self, env: Any, error: type[Exception], named: str
    ) -> None:
        both = ray.remote(_both)
        with pytest.raises(error, match=f"(?s){named}"):
            both.options(runtime_env=env)

    def test_a_runtime_env_is_a_dict(self) -> None:
        env = RuntimeEnv(env_vars={"A": "1"}, config=RuntimeEnvConfig(setup_timeout_seconds=3))
        env["env_vars"] = {"A": "2"}
        assert env["config"]["setup_timeout_seconds"] == 3
        assert dict(env)["env_vars"] == {"A": "2"}
        with pytest.raises(TypeError, match="'A': 3"):
            env["env_vars"] = {"A": 3}

    # Of processes

    def test_workers_of_one_environment_are_used_again_and_never_by_another(self) -> None:
        @ray.remote
        def who() -> int:
            return os.getpid()

        one, two = (who.options(runtime_env=_variables(X=x)) for x in ("1", "2"))
        pids = {name: ray.get(task.remote()) for name, task in (("1", one), ("2", two))}
        assert ray.get([one.remote(), two.remote()]) == [pids["1"], pids["2"]]
        assert ray.get(who.remote()) not in pids.values()

    def test_a_variable_is_there_before_a_library_is_imported(self) -> None:
        @ray.remote(runtime_env={"env_vars": {"PYTHONHASHSEED": "7"}})
        def seed() -> tuple[int, Any]:
            return hash("heliostat"), sys.flags.hash_randomization

        first = ray.get(seed.remote())
        assert first == ray.get(seed.options(name="again").remote())
        assert first[0] != hash("heliostat")

    def test_a_task_begins_in_a_copy_of_its_working_dir(self, tmp_path: Path) -> None:
        folder = _folder(tmp_path / "app")

        @ray.remote(runtime_env={"working_dir": str(folder), "excludes": ["*.big", "/out/"]})
        def look() -> tuple[list[str], str, str]:
            Path("written").touch()
            there = importlib.import_module("only_there")
            names = sorted(set(os.listdir()) - {"__pycache__"})
            return names, there.NAME, os.getcwd()

        names, name, place = ray.get(look.remote())
        assert names == ["data", "only_there.py", "written"]
        assert name == "there"
        assert place != str(folder)
        assert not (folder / "written").exists()
        assert os.getcwd() != place

    def test_a_working_dir_may_be_an_archive(self, tmp_path: Path) -> None:
        archive = shutil.make_archive(str(tmp_path / "app"), "zip", _folder(tmp_path / "app"))

        @ray.remote(runtime_env={"working_dir": archive})
        def look() -> str:
            return Path("data").read_text()

        assert ray.get(look.remote()) == "7"

    def test_py_modules_can_be_imported(self, tmp_path: Path) -> None:
        package = tmp_path / "suite_package"
        package.mkdir()
        (package / "__init__.py").write_text("N = 1")
        (tmp_path / "suite_module.py").write_text("N = 2")
        modules = [str(package), str(tmp_path / "suite_module.py")]

        @ray.remote(runtime_env={"py_modules": modules})
        def look() -> int:
            package, module = map(importlib.import_module, ("suite_package", "suite_module"))
            return int(10 * package.N + module.N)

        assert ray.get(look.remote()) == 12

    def test_a_setup_hook_runs_once_in_each_new_worker(self) -> None:
        def hook() -> None:
            os.environ[_X] = f"{os.environ.get(_X, '')}+"

        look = ray.remote(runtime_env={"worker_process_setup_hook": hook})(_both)
        assert ray.get(look.remote()) == ("+", None)
        assert ray.get(look.remote()) == ("+", None)

    def test_a_setup_hook_that_raises_fails_its_tasks_and_actors(self) -> None:
        def hook() -> None:
            raise ValueError("no good")

        env = {"worker_process_setup_hook": hook}

        @ray.remote(runtime_env=env, max_restarts=-1)
        class Actor:
            def call(self) -> None: ...

        with pytest.raises(RuntimeEnvSetupError, match=r"(?s)setup_hook.*no good"):
            ray.get(ray.remote(_both).options(runtime_env=env).remote(), timeout=20)
        with pytest.raises(RuntimeEnvSetupError, match=r"(?s)setup_hook.*no good"):
            ray.get(Actor.remote().call.remote(), timeout=20)

    # Workers and their number of calls

    def test_a_worker_leaves_after_max_calls_of_the_function(self) -> None:
        @ray.remote(max_calls=2)
        def who() -> int:
            return os.getpid()

        pids = [ray.get(who.remote()) for _ in range(6)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2] or (
            max(map(pids.count, pids)) == 2
        )

    def test_max_calls_holds_for_many_tasks_at_once(self) -> None:
        @ray.remote(max_calls=3)
        def who() -> int:
            return os.getpid()

        pids = ray.get([who.remote() for _ in range(40)])
        assert max(map(pids.count, set(pids))) <= 3

    def test_a_task_with_a_gpu_has_its_worker_to_itself(self) -> None:
        @ray.remote(num_gpus=1)
        def who() -> int:
            return os.getpid()

        pids = [ray.get(who.remote()) for _ in range(3)]
        assert len(set(pids)) == 3
        kept = ray.remote(num_gpus=1, max_calls=0)(who.__wrapped__)
        assert len({ray.get(kept.remote()) for _ in range(3)}) == 1

    def test_max_calls_belongs_to_the_function(self) -> None:
        with pytest.raises(ValueError, match="max_calls"):
            ray.remote(_both).options(max_calls=1)
        with pytest.raises(ValueError, match="max_calls must be >= 0, got -1"):
            ray.remote(max_calls=-1)(_both)

    # Threads and devices

    @with_session(num_cpus=4)
    def test_thread_counts_are_those_of_the_tasks_cpus(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @ray.remote
        def threads() -> list[str | None]:
            names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
            return [os.environ.get(name) for name in names]

        for cpus, count in ((1, "1"), (3, "3"), (0.5, "1"), (2, "2"), (1, "1"), (0, "1")):
            assert ray.get(threads.options(num_cpus=cpus).remote()) == [count] * 3

    @without_session
    def test_the_users_thread_counts_win(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "5")
        monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
        ray.init(engine=self.engine, num_cpus=2)

        @ray.remote(num_cpus=2)
        def threads() -> tuple[str | None, str | None]:
            return os.environ.get("OMP_NUM_THREADS"), os.environ.get("MKL_NUM_THREADS")

        env = {"env_vars": {"MKL_NUM_THREADS": "7"}}
        assert ray.get(threads.remote()) == ("5", "2")
        assert ray.get(threads.options(runtime_env=env).remote()) == ("5", "7")

    @without_session
    def test_visible_gpus_are_the_tasks_own_and_come_back_after_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
        ray.init(engine=self.engine, num_cpus=1, num_gpus=2)

        @ray.remote(max_calls=0)
        def visible() -> str | None:
            return os.environ.get("CUDA_VISIBLE_DEVICES")

        assert ray.get(visible.options(num_gpus=1).remote()) == "4"
        assert ray.get(visible.remote()) == "4,6"
        assert ray.get(visible.options(num_gpus=2).remote()) == "4,6"


def _folder(folder: Path) -> Path:
    for name in ("out", "__pycache__", ".git"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").touch()
    (folder / "only_there.py").write_text("NAME = 'there'")
    (folder / "data").write_text("7")
    (folder / "model.big").touch()
    return folder
