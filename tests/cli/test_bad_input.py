"""Bad input under `heliostat run`: exit code 1, and a message that names value, place and remedy."""

import os
import re
import socket
import time
from pathlib import Path

import pytest

from tests.cli.command import run_script

TRIPS = Path(__file__).parents[2] / "examples" / "data" / "taxi_lesson1.parquet"


def fails(tmp_path: Path, source: str, *words: str, **environment: str):
    """Run a script that an error must end; the words must be in what it says."""
    done = run_script(tmp_path, source, **environment)
    error = done.stderr
    assert done.returncode == 1, done.stdout + error
    for word in words:
        assert word in error, error
    assert "/src/heliostat/_" not in error, f"Heliostat's frames are in the way:\n{error}"
    assert f'{tmp_path / "script.py"}", line' in error, f"the user's line is missing:\n{error}"
    return done


def test_a_missing_file_is_named(tmp_path):
    done = fails(
        tmp_path,
        "import ray\nray.data.read_parquet('trips-2021.parquet').count()\n",
        "FileNotFoundError",
        "trips-2021.parquet",
    )
    assert str(tmp_path) in done.stderr


def test_a_directory_without_parquet_is_named(tmp_path):
    (tmp_path / "trips").mkdir()
    (tmp_path / "trips" / "notes.txt").write_text("nothing here")
    fails(
        tmp_path,
        "import ray\nray.data.read_parquet('trips').count()\n",
        "trips",
        ".parquet",
    )


def test_a_corrupt_file_is_named(tmp_path):
    (tmp_path / "trips").mkdir()
    whole = TRIPS.read_bytes()
    (tmp_path / "trips" / "a.parquet").write_bytes(whole)
    (tmp_path / "trips" / "broken.parquet").write_bytes(whole[: len(whole) // 2])
    fails(
        tmp_path,
        "import ray\nprint(ray.data.read_parquet('trips').count())\n",
        "broken.parquet",
    )


def test_a_file_that_is_corrupt_in_the_middle_is_named(tmp_path):
    content = bytearray(TRIPS.read_bytes())
    content[1000:200_000] = os.urandom(199_000)
    (tmp_path / "broken.parquet").write_bytes(content)
    fails(
        tmp_path,
        "import ray\nray.data.read_parquet('broken.parquet').take_batch(10)\n",
        "broken.parquet",
    )


def test_an_unknown_label_column_lists_the_columns(tmp_path):
    fails(
        tmp_path,
        f"""
        import ray
        from ray.train import RunConfig, ScalingConfig
        from ray.train.xgboost import XGBoostTrainer
        trips = ray.data.read_parquet({str(TRIPS)!r}).limit(100)
        XGBoostTrainer(
            label_column="big_tip",
            params={{"objective": "binary:logistic"}},
            datasets={{"train": trips}},
            scaling_config=ScalingConfig(num_workers=1),
            run_config=RunConfig(storage_path={str(tmp_path / "storage")!r}),
        ).fit()
        """,
        "big_tip",
        "is_big_tip",
        "passenger_count",
    )


def test_an_unpicklable_argument_names_the_path_to_the_culprit(tmp_path):
    fails(
        tmp_path,
        """
        import threading
        import ray
        @ray.remote
        def count(settings):
            return len(settings)
        ray.get(count.remote({"model": {"layers": [1, threading.Lock()]}}))
        """,
        "TypeError",
        "count",
        "['model']['layers'][1]",
        "lock",
    )


def test_a_function_that_holds_something_unpicklable_names_it(tmp_path):
    fails(
        tmp_path,
        """
        import threading
        import ray
        guard = threading.Lock()
        @ray.remote
        def count():
            with guard:
                return 1
        ray.get(count.remote())
        """,
        "TypeError",
        "count",
        "guard",
    )


@pytest.mark.parametrize(
    "call",
    [
        "ray.get(ray.remote(num_gpus=1)(lambda: 1).remote())",
        "ray.get(ray.remote(num_gpus=1)(type('A', (), {'f': lambda self: 1})).remote().f.remote())",
    ],
)
def test_a_gpu_where_there_is_none_is_refused_at_once(tmp_path, call):
    started = time.monotonic()
    fails(
        tmp_path,
        f"import ray\nray.init(num_gpus=0)\n{call}\n",
        "GPU",
        "init(num_gpus=1)",
    )
    assert time.monotonic() - started < 40


def test_a_trainer_that_wants_a_gpu_where_there_is_none_is_refused_at_once(tmp_path):
    fails(
        tmp_path,
        f"""
        import ray
        from ray.train import RunConfig, ScalingConfig
        from ray.train.xgboost import XGBoostTrainer
        ray.init(num_gpus=0)
        XGBoostTrainer(
            label_column="is_big_tip",
            params={{"objective": "binary:logistic"}},
            datasets={{"train": ray.data.read_parquet({str(TRIPS)!r}).limit(100)}},
            scaling_config=ScalingConfig(num_workers=2, use_gpu=True),
            run_config=RunConfig(storage_path={str(tmp_path / "storage")!r}),
        ).fit()
        """,
        "GPU",
    )


def test_a_port_that_is_taken_names_who_has_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fails(
            tmp_path,
            f"""
            import ray
            from ray import serve
            serve.start(http_options={{"port": {port}}})
            """,
            f"port {port}",
            "is taken by",
            str(os.getpid()),
        )


def test_malformed_json_is_a_500_with_a_request_id_and_the_server_lives(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = fails(
        tmp_path,
        f"""
        import requests, ray
        from ray import serve
        from starlette.requests import Request

        @serve.deployment
        class Echo:
            async def __call__(self, request: Request) -> dict:
                return {{"got": await request.json()}}

        serve.start(http_options={{"port": {port}}})
        serve.run(Echo.bind())
        url = "http://127.0.0.1:{port}/"
        bad = requests.post(url, data='{{"half": ')
        print("ID", bad.headers["x-request-id"])
        print("BODY", bad.text)
        assert requests.post(url, json=[1]).json() == {{"got": [1]}}
        bad.raise_for_status()
        """,
        "500 Server Error",
    )
    # The traceback is for the log, the id is what joins it with the client's answer.
    request_id = re.search(r"^ID (\S+)$", done.stdout, re.MULTILINE)[1]
    assert request_id in done.stdout[done.stdout.index("BODY") :]
    assert request_id in done.stderr
    assert "JSONDecodeError" in done.stderr


def test_an_object_over_the_memory_budget_says_both_sizes(tmp_path):
    fails(
        tmp_path,
        """
        import numpy as np, ray
        ray.init(object_store_memory=100 * 2**20)
        ray.put(np.ones(200 * 2**20, np.uint8))
        """,
        "ObjectStoreFullError",
        "object_store_memory",
    )


def test_a_result_over_the_memory_budget_names_the_function(tmp_path):
    fails(
        tmp_path,
        """
        import numpy as np, ray
        ray.init(object_store_memory=100 * 2**20)
        @ray.remote
        def make():
            return np.ones(200 * 2**20, np.uint8)
        ray.get(make.remote())
        """,
        "ObjectStoreFullError",
        "make",
    )


def test_no_worker_is_left_when_an_error_has_ended_the_program(tmp_path):
    done = fails(
        tmp_path,
        """
        import os, ray
        ray.init(num_cpus=1)
        print(ray.get(ray.remote(os.getpid).remote()))
        raise KeyError("the end")
        """,
        "KeyError: 'the end'",
    )
    worker = Path("/proc", done.stdout.strip())
    deadline = time.monotonic() + 2
    while worker.exists():
        assert time.monotonic() < deadline, worker.joinpath("status").read_text()
