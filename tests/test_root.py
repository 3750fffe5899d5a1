"""The package as a whole: quick to import, light, lazy, and complete."""

import ast
import inspect
import json
import subprocess
import sys
from inspect import ismodule
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import heliostat as ray

HEAVY = ("numpy", "pyarrow", "pandas", "torch", "starlette", "fastapi", "uvicorn", "asyncio")


def fresh(program: str) -> Any:
    """What a program prints as JSON in a new interpreter."""
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, timeout=60
    ).stdout
    return json.loads(shown)


def test_importing_it_imports_nothing_heavy() -> None:
    loaded = fresh("import sys, json, heliostat; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in HEAVY if name in loaded] == []
    assert not [name for name in loaded if name.startswith("heliostat.data")]
    assert not [name for name in loaded if name.startswith("heliostat._engines.")]


# Slow to load, and for users of theirs alone.
OTHERS = {
    "asyncio", "duckdb", "fastapi", "jax", "lightgbm", "numpy", "optuna", "pandas", "polars", "pyarrow",
    "pydantic", "scipy", "sklearn", "starlette", "torch", "uvicorn", "websockets", "xgboost", "yaml",
}  # fmt: skip


@pytest.mark.parametrize(
    ("library", "needs"),
    [
        ("util", set()),
        ("data", {"numpy", "pyarrow"}),
        ("train", set()),
        ("tune", set()),
        ("serve", {"asyncio", "starlette", "uvicorn", "websockets"}),
    ],
)
def test_a_library_and_its_names_import_only_what_it_stands_on(
    library: str, needs: set[str]
) -> None:
    loaded = fresh(
        f"import sys, json, heliostat.{library} as library\n"
        "names = [getattr(library, name) for name in getattr(library, '__all__', ())]\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    assert OTHERS & set(loaded) == needs


@pytest.mark.parametrize("library", [ray.train, ray.tune], ids=lambda library: library.__name__)
def test_names_are_loaded_from_where_type_checkers_are_told_they_are(library: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(library))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If) and node.orelse == []][:1]
    told = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module != library.__name__
    }
    assert {name: f"heliostat.{home}" for name, home in library._HOMES.items()} == told
    assert set(library.__all__) <= set(dir(library))
    assert [name for name in library._MODULES if not ismodule(getattr(library, name))] == []
    with pytest.raises(AttributeError, match="has no attribute 'solar'"):
        _ = library.solar


def test_a_worker_of_train_or_tune_loads_nothing_of_what_the_driver_decides() -> None:
    loaded = fresh(
        "import sys, json, heliostat\n"
        "import heliostat.tune._trial_actor, heliostat.train._worker\n"
        "from heliostat import train, tune\n"
        "train.report, tune.report, tune.Trainable\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    driver = {"train._controller", "train._run", "tune.tuner", "tune._experiment", "tune.search"}
    assert {f"heliostat.{name}" for name in driver} & set(loaded) == set()


def test_a_first_fit_loads_nothing_else_in_the_driver_or_where_the_trial_runs(
    tmp_path: Path,
) -> None:
    driver, worker = fresh(
        "import sys, json, heliostat as ray\n"
        "from heliostat import tune\n"
        "ray.init(num_cpus=1)\n"
        "def trial(config):\n"
        "    import sys\n"
        "    tune.report({'loss': config['x'], 'loaded': sorted(sys.modules)})\n"
        "config = tune.TuneConfig(metric='loss', mode='min')\n"
        f"run = tune.RunConfig(storage_path={str(tmp_path)!r}, verbose=0)\n"
        "space = {'x': tune.uniform(0, 1)}\n"
        "fit = tune.Tuner(trial, param_space=space, tune_config=config, run_config=run).fit()\n"
        "loaded = fit.get_best_result().metrics['loaded']\n"
        "print(json.dumps([sorted(sys.modules), loaded]))\n"
    )
    assert OTHERS & {*driver, *worker} == set()


def test_importing_it_starts_no_thread_and_no_session() -> None:
    assert fresh(
        "import threading, json, heliostat;"
        "print(json.dumps([threading.active_count(), heliostat.is_initialized()]))"
    ) == [1, False]


def test_a_session_loads_nothing_heavy_either() -> None:
    loaded = fresh(
        "import sys, json, heliostat as ray\n"
        "ray.init(num_cpus=1)\n"
        "assert ray.get(ray.remote(lambda: 1).remote()) == 1\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    assert [name for name in HEAVY if name in loaded] == []


def test_libraries_load_on_first_touch() -> None:
    assert fresh(
        "import sys, json, heliostat as ray\n"
        "before = 'heliostat.util' in sys.modules\n"
        "ray.util\n"
        "print(json.dumps([before, 'heliostat.util' in sys.modules]))\n"
    ) == [False, True]


def test_a_function_keeps_its_name_when_its_module_is_imported() -> None:
    assert fresh(
        "import json, heliostat as ray\n"
        "from heliostat.util.placement_group import PlacementGroup\n"
        "import heliostat.util.placement_group\n"
        "made = ray.util.placement_group([{'CPU': 1}])\n"
        "print(json.dumps(isinstance(made, PlacementGroup)))\n"
    )


def test_identifiers_are_loaded_when_they_are_asked_for() -> None:
    for kind in (ray.JobID, ray.WorkerID, ray.PlacementGroupID, ray.FunctionID, ray.ActorClassID):
        one = kind.from_random()
        assert kind.from_hex(one.hex()) == kind.from_binary(one.binary()) == one
        assert len(one.binary()) == kind.size()
        assert not one.is_nil()
        assert kind.nil().is_nil()
        with pytest.raises(ValueError, match=kind.__name__):
            kind.from_hex("ab")
    assert (ray.SCRIPT_MODE, ray.WORKER_MODE, ray.Language.PYTHON.name) == (0, 1, "PYTHON")


def test_every_public_name_is_there() -> None:
    assert [name for name in ray.__all__ if not hasattr(ray, name)] == []
    assert set(ray.__all__) <= set(dir(ray))


def test_a_name_that_is_not_there_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="solar"):
        _ = ray.solar


@pytest.mark.parametrize("name", sorted(set(ray.__all__) - {"__version__"}))
def test_every_public_name_is_documented(name: str) -> None:
    assert (getattr(ray, name).__doc__ or "").strip()
