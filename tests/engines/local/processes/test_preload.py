"""What workers have imported when they are born, and that no threaded process is forked."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from heliostat._engines.local.processes.preload import UNSAFE, Preloads


def run(
    source: str, folder: Path | None = None, stdin: str | None = None, **variables: str
) -> tuple[str, str]:
    """The output and the errors of a program with its own driver."""
    path = [str(folder)] if folder is not None else []
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, *filter(None, sys.path)])}
    environ.update({"HELIOSTAT_PRELOAD": "1", **variables})
    done = subprocess.run(
        [sys.executable, "-c", "import heliostat as ray, os, sys\n" + textwrap.dedent(source)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.strip()


LOOK = """
@ray.remote
def look(name):
    return name in sys.modules
"""


def package(folder: Path, name: str, body: str) -> Path:
    """A package that looks as if it were installed."""
    site = folder / "site-packages"
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text(body)
    (site / name / "part.py").write_text("")
    return site


def test_installed_packages_that_the_driver_has_imported_are_there(tmp_path: Path) -> None:
    site = package(tmp_path, "installed", "")
    (tmp_path / "own.py").write_text("")
    sys_path = os.pathsep.join([str(site), str(tmp_path)])
    out, _ = run(
        f"""
        sys.path[:0] = {sys_path.split(os.pathsep)!r}
        import installed.part, own
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        ray.init(num_cpus=1)
        print(ray.get([look.remote(n) for n in ("installed", "installed.part", "own", "pandas")]))
        """
    )
    assert out == "[True, True, False, False]"


def test_workers_are_born_with_what_they_run_of_a_library_whose_names_load_late() -> None:
    out, _ = run(
        f"""
        from heliostat.tune import Tuner
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        ray.init(num_cpus=1)
        names = "heliostat.tune", "heliostat.tune._trial_actor", "heliostat.tune._experiment"
        print(ray.get([look.remote(name) for name in names]))
        """
    )
    assert out == "[True, True, False]"


def test_a_library_that_starts_threads_is_left_to_the_workers(tmp_path: Path) -> None:
    body = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    package(tmp_path, "good", "")
    site = package(tmp_path, "threaded", body)
    out, err = run(
        f"""
        sys.path.insert(0, {str(site)!r})
        ray.init(num_cpus=2)
        @ray.remote
        class Early:
            def pid(self):
                return os.getpid(), os.getppid()
        early = Early.remote()
        before = ray.get(early.pid.remote())
        import good, threaded
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        @ray.remote
        class Late:
            def look(self):
                return [n in sys.modules for n in ("good", "threaded")], os.getppid()
        late = [Late.remote() for _ in range(3)]
        found = ray.get([a.look.remote() for a in late])
        print(found[-1][0], before[1] == found[-1][1], ray.get(early.pid.remote()) == before)
        """
    )
    assert out == "[True, False] True True"
    assert err.count("threaded is not shared between workers") == 1


def test_a_library_that_starts_threads_is_tried_and_told_of_once_with_all_its_parts(
    tmp_path: Path,
) -> None:
    start = "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    # A part that is imported by the package's own file comes before it in `sys.modules`.
    site = package(tmp_path, "threaded", f"import threading, time\nfrom . import a, b\n{start}")
    for part in ("a", "b"):
        (site / "threaded" / f"{part}.py").write_text("")
    out, err = run(
        f"""
        sys.path.insert(0, {str(site)!r})
        import threaded
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        ray.init(num_cpus=1)
        print(ray.get(look.remote("threaded")))
        """
    )
    assert out == "False"
    assert [line.split()[1] for line in err.splitlines()] == ["threaded"]


def test_polars_is_left_to_the_workers_without_a_word() -> None:
    pytest.importorskip("polars")
    out, err = run(
        f"""
        import polars
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        ray.init(num_cpus=1)
        print(ray.get(look.remote("polars")))
        """
    )
    assert (out, err) == ("False", "")


def test_a_library_that_initialises_a_gpu_is_left_to_the_workers(tmp_path: Path) -> None:
    site = package(tmp_path, "cuda_user", "")
    out, err = run(
        f"""
        sys.path.insert(0, {str(site)!r})
        import cuda_user
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        ray.init(num_cpus=1)
        print(ray.get(look.remote("cuda_user")))
        """,
        HELIOSTAT_FAULTS="zygote.gpu:EBUSY",
        HELIOSTAT_PRELOAD="cuda_user",
    )
    assert out == "False"
    assert "cuda_user is not shared between workers, because it initialised a GPU" in err


def test_a_library_that_kills_the_zygote_is_not_tried_again(tmp_path: Path) -> None:
    body = "import os\nif 'HELIOSTAT_WORKER' in os.environ: os.abort()"
    site = package(tmp_path, "deadly", body)
    out, err = run(
        f"""
        sys.path.insert(0, {str(site)!r})
        import deadly
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        ray.init(num_cpus=1)
        print(ray.get(look.remote("deadly")))
        """
    )
    assert out == "False"
    assert err.count("deadly is not shared between workers") == 1


def test_a_library_that_cannot_be_imported_without_the_driver_harms_nobody(tmp_path: Path) -> None:
    body = "import os\nassert 'HELIOSTAT_WORKER' not in os.environ"
    site = package(tmp_path, "picky", body)
    out, err = run(
        f"""
        sys.path.insert(0, {str(site)!r})
        import picky
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        ray.init(num_cpus=1)
        print(ray.get(look.remote("picky")))
        """
    )
    assert (out, err) == ("False", "")


@pytest.mark.parametrize(("asked", "found"), [("0", "False"), ("installed", "True"), ("1", "True")])
def test_what_is_shared_can_be_chosen(tmp_path: Path, asked: str, found: str) -> None:
    site = package(tmp_path, "installed", "")
    out, _ = run(
        f"""
        sys.path.insert(0, {str(site)!r})
        import installed
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        ray.init(num_cpus=1)
        print(ray.get(look.remote("installed")))
        """,
        HELIOSTAT_PRELOAD=asked,
    )
    assert out == found


def test_libraries_that_do_not_survive_a_fork_are_never_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HELIOSTAT_PRELOAD", "1")
    for name in ("tensorflow", "harmless"):
        module = ModuleType(name)
        module.__file__ = f"/x/site-packages/{name}/__init__.py"
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    wanted = Preloads().wanted()
    assert "harmless" in wanted
    assert not {name.split(".")[0] for name in wanted} & UNSAFE.keys()


TORCH = """
import torch
import torch.distributed as dist
ray.init(num_cpus=2)

@ray.remote
class Rank:
    def loaded(self):
        return "torch" in sys.modules

    def reduce(self, rank, path):
        dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
        value = torch.ones(3) * (rank + 1)
        dist.all_reduce(value)
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 1))
        model(value).sum().backward()
        grads = [p.grad.sum().item() for p in model.parameters()]
        dist.destroy_process_group()
        return value.tolist(), grads

    def threads(self):
        return torch.get_num_threads()

ranks = [Rank.remote() for _ in range(2)]
print(ray.get([rank.loaded.remote() for rank in ranks]))
path = sys.argv[1] if len(sys.argv) > 1 else os.environ["MEETING"]
print(ray.get([rank.reduce.remote(i, path) for i, rank in enumerate(ranks)]))
print(ray.get([Rank.options(num_cpus=n).remote().threads.remote() for n in (1, 2)]))
"""


def test_ddp_over_gloo_runs_in_forked_workers_that_share_torch(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    out, err = run(TORCH, MEETING=str(tmp_path / "meeting"), HELIOSTAT_PRELOAD="torch")
    assert out.splitlines() == [
        "[True, True]",
        "[([3.0, 3.0, 3.0], [9.0, 1.0]), ([3.0, 3.0, 3.0], [9.0, 1.0])]",
        "[1, 2]",
    ]
    assert "not shared" not in err


@pytest.mark.parametrize(("asked", "found"), [("1", "True False 3"), ("numpy", "False False 2")])
def test_an_actor_is_born_with_what_was_foreseen_though_older_workers_are_idle(
    tmp_path: Path, asked: str, found: str
) -> None:
    site = package(tmp_path, "installed", "")
    out, _ = run(
        f"""
        sys.path.insert(0, {str(site)!r})
        from heliostat.runtime_context import preload, records
        preload("installed")  # without a session nothing happens
        {LOOK.replace(chr(10), chr(10) + " " * 8)}
        ray.init(num_cpus=2)
        ray.get([look.remote("os") for _ in range(9)])
        preload("installed")

        @ray.remote
        class Looks:
            def there(self, name):
                preload("more")  # a worker starts no other
                return name in sys.modules

        looks = Looks.remote()
        there = ray.get(looks.there.remote("installed"))
        print(there, "installed" in sys.modules, len(records("workers")))
        print(ray.get(look.remote("installed")))
        """,
        HELIOSTAT_PRELOAD=asked,
    )
    assert out.splitlines() == [found, "False"]


@pytest.mark.parametrize("library", ["torch", "xgboost", "lightgbm"])
def test_who_trains_is_born_with_the_library_also_where_the_session_is_older(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    out, _ = run(
        f"""
        ray.init(num_cpus=2)
        import heliostat.train.{library}

        @ray.remote
        class Looks:
            def there(self):
                return {library!r} in sys.modules

        print(ray.get(Looks.remote().there.remote()))
        """
    )
    assert out.split() == ["True"]


def test_what_pytorch_imports_at_its_first_use_is_there_for_who_trains() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    code = """
        import {}
        ray.init(num_cpus=1)
        print(ray.get(ray.remote(lambda: "torch._dynamo" in sys.modules).remote()))
        print("torch._dynamo" in sys.modules)
        """
    assert run(code.format("torch"))[0].splitlines() == ["False", "False"]
    assert run(code.format("heliostat.train.torch"))[0].splitlines() == ["True", "False"]
