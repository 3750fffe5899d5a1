"""Environments with packages and interpreters of their own. No network: a wheel is made here."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat._engines.local.processes import cache_dir
from heliostat._engines.local.processes.venvs import Installer
from heliostat.exceptions import RuntimeEnvSetupError
from heliostat.testing.clock import until

NAME = "heliostat_tiny"
OFFLINE = ["--no-index"]


def wheel(folder: Path, version: str, body: str) -> str:
    """A wheel with one module, which says `body`."""
    info = f"{NAME}-{version}.dist-info"
    files = {
        f"{NAME}/__init__.py": body,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        lines.append(f"{name},sha256={digest.decode()},{len(text)}\n")
    folder.mkdir(exist_ok=True)
    path = folder / f"{NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in (
            *files.items(),
            (f"{info}/RECORD", "".join(lines) + f"{info}/RECORD,,\n"),
        ):
            file.writestr(name, text)
    return str(path)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("HELIOSTAT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return tmp_path / "cache"


@pytest.fixture
def session() -> Iterator[None]:
    ray.init(engine="local", num_cpus=2)
    yield
    ray.shutdown()


@ray.remote
def tiny() -> tuple[str, str, str]:
    """What the module of the wheel says, and who says it."""
    import heliostat_tiny  # type: ignore[import-not-found]

    return heliostat_tiny.V, sys.executable, os.environ["PATH"].split(os.pathsep)[0]


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_packages_are_there_for_who_asked_and_nobody_else(
    tool: str, tmp_path: Path, session: None
) -> None:
    first, second = (wheel(tmp_path, v, f"V = {v!r}") for v in ("1.0", "2.0"))
    one = tiny.options(runtime_env={tool: [first]})
    two = tiny.options(runtime_env={tool: {"packages": [second]}})
    answers = ray.get([one.remote(), two.remote(), one.remote()])
    assert [version for version, _, _ in answers] == ["1.0", "2.0", "1.0"]
    for _, python, path in answers:
        assert python != sys.executable
        assert path == os.path.dirname(python)
    with pytest.raises(ModuleNotFoundError):
        ray.get(tiny.remote())


def test_packages_may_stand_in_a_requirements_file(tmp_path: Path, session: None) -> None:
    wheel(tmp_path, "1.0", "V = 'file'")
    file = tmp_path / "requirements.txt"
    file.write_text(f"# ours\n\n./{NAME}-1.0-py3-none-any.whl\nray[default]==2.60\n")
    assert ray.get(tiny.options(runtime_env={"uv": str(file)}).remote())[0] == "file"


def test_an_environment_that_was_made_is_not_made_again(
    tmp_path: Path, cache: Path, session: None
) -> None:
    env = {"uv": [wheel(tmp_path, "1.0", "V = 'x'")]}
    python = ray.get(tiny.options(runtime_env=env).remote())[1]
    made = os.stat(python, follow_symlinks=False).st_mtime_ns
    ray.shutdown()
    ray.init(engine="local", num_cpus=1)
    assert ray.get(tiny.options(runtime_env=env).remote())[1] == python
    assert os.stat(python, follow_symlinks=False).st_mtime_ns == made


def test_a_wheel_that_was_built_anew_is_another_environment(tmp_path: Path, session: None) -> None:
    env = {"uv": [wheel(tmp_path, "1.0", "V = 'old'")]}
    assert ray.get(tiny.options(runtime_env=env).remote())[0] == "old"
    ray.shutdown()
    wheel(tmp_path, "1.0", "V = 'new'")
    ray.init(engine="local", num_cpus=1)
    assert ray.get(tiny.options(runtime_env=env).remote())[0] == "new"


def test_an_actor_lives_in_its_environment_and_so_do_its_tasks(
    tmp_path: Path, session: None
) -> None:
    @ray.remote(runtime_env={"pip": [wheel(tmp_path, "1.0", "V = 'deep'")]})
    class Actor:
        def nested(self) -> str:
            return str(ray.get(tiny.remote())[0])

    assert ray.get(Actor.remote().nested.remote()) == "deep"


def test_what_cannot_be_installed_fails_with_what_uv_said(cache: Path, session: None) -> None:
    log = cache.parent / "log"
    env = {
        "uv": {"packages": ["no-such-package-x"], "uv_pip_install_options": OFFLINE},
        "config": {"log_files": [str(log)]},
    }
    with pytest.raises(RuntimeEnvSetupError, match=r"(?s)no-such-package-x.*was not found"):
        ray.get(tiny.options(runtime_env=env, max_retries=-1).remote(), timeout=60)
    assert "was not found" in log.read_text()
    assert [n for n in os.listdir(cache / "venvs") if not n.endswith(".lock")] == []

    @ray.remote(runtime_env=env)
    class Actor:
        def call(self) -> None: ...

    with pytest.raises(RuntimeEnvSetupError, match="no-such-package-x"):
        ray.get(Actor.remote().call.remote(), timeout=60)
    assert ray.get(ray.remote(os.getpid).remote()) > 0


def test_what_takes_too_long_to_set_up_fails_and_names_the_limit(
    tmp_path: Path, session: None
) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o700)
    env = {"py_executable": str(slow), "config": {"setup_timeout_seconds": 1}}
    with pytest.raises(RuntimeEnvSetupError, match="setup_timeout_seconds"):
        ray.get(tiny.options(runtime_env=env).remote(), timeout=20)


def test_an_interpreter_that_is_none_fails_with_what_it_said(session: None) -> None:
    with pytest.raises(RuntimeEnvSetupError, match=r"(?s)echo.*said:.*hello"):
        ray.get(tiny.options(runtime_env={"py_executable": "echo hello"}).remote(), timeout=20)
    with pytest.raises(RuntimeEnvSetupError, match=r"/no/such"):
        ray.get(tiny.options(runtime_env={"py_executable": "/no/such"}).remote(), timeout=20)
    with pytest.raises(RuntimeEnvSetupError, match=r"no-such-program"):
        ray.get(tiny.options(runtime_env={"py_executable": "no-such-program -x"}).remote())


def test_an_interpreter_may_have_arguments(session: None) -> None:
    @ray.remote(runtime_env={"py_executable": f"{sys.executable} -X utf8 -W ignore"})
    def look() -> tuple[dict[str, Any], list[str]]:
        return sys._xoptions, sys.warnoptions

    assert ray.get(look.remote()) == ({"utf8": True}, ["ignore"])


def test_the_end_of_a_session_does_not_wait_for_what_is_being_made(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o700)
    ray.init(engine="local", num_cpus=1)
    ref = tiny.options(runtime_env={"py_executable": str(slow)}).remote()
    until(lambda: any(t.name == "heliostat-environment" for t in threading.enumerate()))
    start = time.monotonic()
    ray.shutdown()
    assert time.monotonic() - start < 5
    del ref


def test_copies_are_removed_with_the_session(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    ray.init(engine="local", num_cpus=1)
    env = {"working_dir": str(tmp_path / "app")}
    place = ray.get(ray.remote(os.getcwd).options(runtime_env=env).remote())
    assert place.startswith(str(cache))
    assert os.stat(cache).st_mode & 0o777 == 0o700
    ray.shutdown()
    assert os.listdir(cache / "sessions") == []


def test_copies_of_a_killed_driver_are_removed_by_the_next(cache: Path) -> None:
    left = Path(cache_dir.below("sessions")) / "1-abc"
    left.mkdir()
    Path(f"{left}.lock").touch()
    directory = cache_dir.SessionDirectory()
    assert os.path.exists(directory.path())
    assert not left.exists()
    other = cache_dir.SessionDirectory()
    assert other.path() != directory.path()
    assert os.path.exists(directory.path())
    directory.close()
    other.close()
    assert os.listdir(left.parent) == []


def test_a_cache_that_others_can_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("HELIOSTAT_CACHE_DIR", str(tmp_path / "open"))
    with pytest.raises(PermissionError, match="HELIOSTAT_CACHE_DIR"):
        cache_dir.root()


def make(installer: Installer, path: str) -> str:
    return installer.interpreter({"packages": [path]}, time.monotonic() + 60, ())


def test_two_at_once_make_an_environment_once(tmp_path: Path) -> None:
    path = wheel(tmp_path, "1.0", "V = 1")
    installers = [Installer(), Installer()]
    found: list[str] = []
    threads = [threading.Thread(target=lambda i=i: found.append(make(i, path))) for i in installers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(set(found)) == 1
    for installer in installers:
        installer.close()


def test_an_environment_whose_making_was_interrupted_is_made_anew(tmp_path: Path) -> None:
    path = wheel(tmp_path, "1.0", "V = 1")
    installer = Installer()
    python = make(installer, path)
    folder = Path(python).parent.parent
    (folder / ".heliostat-complete").unlink()
    module = next(folder.glob(f"lib/*/site-packages/{NAME}/__init__.py"))
    module.unlink()
    other = Installer()
    installer.close()
    assert make(other, path) == python
    assert module.exists()
    other.close()


def test_environments_that_nobody_has_used_for_long_are_removed(tmp_path: Path) -> None:
    first, second = Installer(), Installer()
    old, new = (make(first, wheel(tmp_path / v, v, "V = 1")) for v in ("1.0", "2.0"))
    lock = f"{Path(old).parent.parent}.lock"
    os.utime(lock, (0, 0))
    make(second, wheel(tmp_path / "2.0", "2.0", "V = 1"))
    second.close()
    assert os.path.exists(old), "somebody uses it"
    first.close()
    assert not os.path.exists(old)
    assert os.path.exists(new)


def test_workers_of_an_environment_leave_when_they_are_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from heliostat._engines.local.scheduling import environment_scheduler, worker_scheduler

    monkeypatch.setattr(worker_scheduler, "IDLE_S", 0.05)
    monkeypatch.setattr(environment_scheduler, "UNUSED_S", 0.05)
    ray.init(engine="local", num_cpus=1)
    try:
        env = {"env_vars": {"PYTHONHASHSEED": "1"}}
        who: Callable[[], Any] = ray.remote(os.getppid).options(runtime_env=env).remote
        zygote = ray.get(who())
        until(lambda: not os.path.exists(f"/proc/{zygote}"), "its zygote has ended")
        assert ray.get(who()) != zygote
    finally:
        ray.shutdown()
