"""What workers print arrives on the driver's streams, all of it, and before what follows."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

BEGIN = """
import os, signal, sys, time
import heliostat as ray
ray.init(num_cpus=2)
"""


def run(program, **options):
    """The streams of a driver."""
    source = BEGIN + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, timeout=100, **options
    )
    return done.stdout.decode(), done.stderr.decode()


def test_what_a_task_prints_stands_before_what_follows_its_result():
    out, err = run("""
        @ray.remote
        def say(n):
            print("task", n)
            print("careful", n, file=sys.stderr)

        for n in range(20):
            ray.get(say.remote(n))
            print("driver", n)
    """)
    lines = [line.rpartition(") ")[2] for line in out.splitlines()]
    assert lines == [f"{who} {n}" for n in range(20) for who in ("task", "driver")]
    assert err.count("(say pid=") == 20


def test_each_line_tells_which_task_printed_it():
    out, _ = run("""
        @ray.remote
        def one(): print("from one")
        @ray.remote
        def two(): print("from two")
        ray.get([f.remote() for _ in range(50) for f in (one, two)])
    """)
    for name in ("one", "two"):
        mine = [line for line in out.splitlines() if line.endswith(f"from {name}")]
        assert len(mine) == 50
        assert all(line.startswith(f"({name} pid=") for line in mine)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_last_words_of_a_killed_worker_are_shown(number):
    out, _ = run(f"""
        @ray.remote(max_retries=0)
        def die():
            os.write(1, b"last words")
            os.kill(os.getpid(), {int(number)})
        try:
            ray.get(die.remote())
        except ray.exceptions.WorkerCrashedError:
            print("dead")
    """)
    assert sorted(line.rpartition(") ")[2] for line in out.splitlines()) == ["dead", "last words"]


def test_an_unfinished_line_is_shown_when_the_session_ends():
    out, _ = run("""
        @ray.remote
        def say(): print("no newline", end="", flush=True)
        ray.get(say.remote())
    """)
    assert out.endswith(") no newline\n")


def test_nothing_of_much_output_is_lost_though_the_reader_is_slow():
    program = BEGIN + textwrap.dedent("""
        @ray.remote
        def say(who):
            for n in range(20_000):
                print(who, n, "x" * 80)
        ray.get([say.remote(0), say.remote(1)])
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), True)
        first = process.stdout.read(100)  # and then nothing for as long as the next line takes
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.5)"], check=True)
        lines = (first + process.stdout.read()).decode().splitlines()
    for who in ("0", "1"):
        mine = [line.split()[3] for line in lines if line.split()[2] == who]
        assert mine == [str(n) for n in range(20_000)]


def test_a_silent_session_prints_nothing():
    out, err = run("""
        ray.shutdown()
        ray.init(num_cpus=1, log_to_driver=False)
        @ray.remote
        def say(): print("hello")
        ray.get(say.remote())
    """)
    assert (out, err) == ("", "")


def test_a_slow_reader_stops_the_worker_that_prints_and_nobody_else():
    program = BEGIN + textwrap.dedent("""
        @ray.remote
        def flood():
            while True:
                print("x" * 1000)
        @ray.remote
        def work(n): return n
        ref = flood.remote()
        sys.stderr.write(f"{sum(ray.get([work.remote(n) for n in range(500)]))}\\n")
        sys.stderr.flush()
        os._exit(0)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"124750\n"  # though nobody reads its output
        process.kill()


SAME = """
    @ray.remote
    class Rank:
        def say(self, n):
            print("loading the model")
            print("rank", n)

    ranks = [Rank.options(num_cpus=0).remote() for _ in range(4)]
    ray.get([rank.say.remote(n) for n, rank in enumerate(ranks)])
"""


@pytest.mark.parametrize("name", ["HELIOSTAT_DEDUP_LOGS", "RAY_DEDUP_LOGS"])
def test_equal_lines_of_several_workers_are_folded_for_who_asks_for_it(name):
    out, _ = run(SAME, env=os.environ | {name: "1", "RAY_DEDUP_LOGS_AGG_WINDOW_S": "60"})
    lines = sorted(line.rpartition(") ")[2] for line in out.splitlines())
    folded = "loading the model [repeated 3x across cluster]"
    assert lines == ["loading the model", folded, *(f"rank {n}" for n in range(4))]


def test_equal_lines_are_all_shown_unless_folding_is_asked_for():
    out, _ = run(SAME)
    assert out.count("loading the model\n") == 4


@pytest.mark.parametrize(
    ("variable", "value"), [("DEDUP_LOGS", "yes"), ("DEDUP_LOGS_AGG_WINDOW_S", "-1")]
)
def test_a_bad_wish_about_folding_is_refused_by_name(variable, value):
    environ = os.environ | {"RAY_DEDUP_LOGS": "1", f"HELIOSTAT_{variable}": value}
    _, err = run("", env=environ)
    assert f"ValueError: HELIOSTAT_{variable} must be" in err
    assert repr(value) in err
