"""Descriptors, processes, threads and memory that run out: a clear error, and the session lives."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.engines.conftest import Drive, Driver


def test_a_driver_without_descriptors_says_so_and_goes_on_when_there_are_some(drive: Drive) -> None:
    driver = drive("""
        import resource
        ray.init(num_cpus=2)
        @ray.remote
        def one():
            return 1
        @ray.remote(num_cpus=0)
        class Actor:
            def one(self):
                return 1
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, limits[1]))
        actors = []
        try:
            while len(actors) < 60:
                actors.append(Actor.remote())
                ray.get(actors[-1].one.remote(), timeout=30)
        except ray.exceptions.ActorDiedError as error:
            say(error)
        say(ray.get(actors[0].one.remote(), timeout=30))
        say(ray.available_resources()["CPU"])
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        say(ray.get([one.remote() for _ in range(5)], timeout=30))
        say(ray.get(Actor.remote().one.remote(), timeout=30))
    """)
    code, out, err = driver.end(60)
    assert code == 0, err
    dead, *rest = out.splitlines()
    assert "could not be started: [Errno 24] Too many open files. `ulimit -n`" in dead
    assert rest == ["1", "2.0", "[1, 1, 1, 1, 1]", "1"]
    assert "Traceback" not in err
    driver.expect_no_family()


FEW = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
ray.init(num_cpus=2)
@ray.remote(num_cpus=0)
class Actor:
    def one(self):
        return 1
@ray.remote(num_cpus=0)
def nap(n):
    time.sleep(0.05)
    return n
@ray.remote
def nest(n):
    return 1 + ray.get(nest.remote(n - 1)) if n else 0
"""


def test_tasks_wait_for_each_other_when_no_descriptor_is_left_for_more_workers(
    drive: Drive,
) -> None:
    driver = drive(
        FEW
        + """
say(ray.get([nap.remote(n) for n in range(80)], timeout=60) == list(range(80)))
from heliostat.util.state import list_cluster_events
say(any("Too many open files" in event.message for event in list_cluster_events()))
"""
    )
    code, out, err = driver.end(60)
    assert (code, out) == (0, "True\nTrue\n"), err


def test_tasks_that_wait_for_children_without_a_process_are_told_why(drive: Drive) -> None:
    driver = drive(
        FEW
        + """
say(ray.get(nest.remote(5), timeout=30))
try:
    ray.get(nest.remote(40), timeout=30)
except ray.exceptions.WorkerCrashedError as error:
    say(str(error).strip().splitlines()[-1])
say(ray.get([nap.remote(n) for n in range(3)], timeout=30))
"""
    )
    code, out, err = driver.end(60)
    five, why, later = out.splitlines()
    assert (code, five, later) == (0, "5", "[0, 1, 2]"), err
    assert "no worker process could be had for nest: " in why
    assert "[Errno 24] Too many open files. `ulimit -n`" in why


def test_actors_that_hold_all_descriptors_are_named_to_who_finds_none(drive: Drive) -> None:
    driver = drive(
        FEW
        + """
actors = [Actor.remote() for _ in range(40)]
calls = [actor.one.remote() for actor in actors]
ready, failed = 0, []
for call in calls:
    try:
        ready += ray.get(call, timeout=30)
    except ray.exceptions.ActorDiedError as error:
        failed.append(error)
say(ready > 3 and len(failed) > 3 and "Too many open files" in str(failed[0]))
try:
    ray.get(nap.remote(1), timeout=30)
except ray.exceptions.WorkerCrashedError as error:
    say(error)
del actors, calls, call, failed
say(ray.get(nap.remote(2), timeout=30))
"""
    )
    code, out, err = driver.end(60)
    held, why, later = out.splitlines()
    assert (code, held, later) == (0, "True", "2"), err
    assert why.endswith("All that there are host actors, or wait for others")


@pytest.mark.parametrize(
    ("work", "error"),
    [
        ("while True: kept.append(open('/dev/null'))", "Too many open files"),
        ("kept.append(bytes(1 << 40))", "MemoryError"),
    ],
)
def test_a_task_that_uses_up_its_process_gets_the_error_and_siblings_live(
    work: str, error: str, drive: Drive
) -> None:
    driver = drive(f"""
        import resource
        ray.init(num_cpus=2)
        @ray.remote
        def one():
            return 1
        @ray.remote(max_retries=0)
        def greedy():
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
            kept = []
            {work}
        try:
            ray.get(greedy.remote(), timeout=30)
        except (OSError, MemoryError) as error:
            say(repr(str(error)))
        say(ray.get([one.remote() for _ in range(10)], timeout=30))
    """)
    code, out, err = driver.end(60)
    assert code == 0, err
    assert error in out.splitlines()[0]
    assert out.splitlines()[1] == str([1] * 10)
    driver.expect_no_family()


def test_processes_and_threads_that_a_task_starts_do_no_harm_and_end_with_the_session(
    drive: Drive,
) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def one():
            return 1
        @ray.remote
        def bomb():
            for _ in range(100):
                if os.fork() == 0:
                    time.sleep(1000)
                    os._exit(0)
            threads = [threading.Thread(target=time.sleep, args=(1000,), daemon=True)
                       for _ in range(300)]
            for thread in threads:
                thread.start()
            return len(threads)
        say(ray.get(bomb.remote(), timeout=60))
        say(ray.get([one.remote() for _ in range(10)], timeout=30))
    """)
    code, out, err = driver.end(60)
    assert (code, out.splitlines()) == (0, ["300", str([1] * 10)]), err
    driver.expect_no_family()


def test_a_child_of_the_driver_by_fork_may_have_a_session_of_its_own(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def one():
            return 1
        ref = one.remote()
        assert ray.get(ref) == 1
        pid = os.fork()
        if pid == 0:
            assert not ray.is_initialized()
            try:
                ray.get(ref, timeout=10)
            except ray.exceptions.ObjectLostError:
                say("lost")
            say(ray.get(one.remote(), timeout=30) + 1)
            ray.shutdown()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        say(ray.get([ref, one.remote()], timeout=30))
    """)
    code, out, err = driver.end(60)
    assert (code, out.splitlines()) == (0, ["lost", "2", "[1, 1]"]), err
    driver.expect_no_family()


def test_a_closed_terminal_ends_everything(drive: Drive) -> None:
    driver = drive("""
        import signal
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have ignored it
        ray.init(num_cpus=2)
        @ray.remote
        def nap():
            time.sleep(1000)
        refs = [nap.remote() for _ in range(2)]
        say("ready")
        ray.get(refs)
    """)
    driver.hear("ready")
    driver.process.send_signal(1)  # SIGHUP
    assert driver.end()[0] == -1
    driver.expect_no_family()


@pytest.mark.parametrize("moment", ["get", "put", "shutdown"])
def test_ctrl_c_twice_leaves_nothing_and_the_first_leaves_a_session(
    moment: str, drive: Drive
) -> None:
    driver = drive(f"""
        ray.init(num_cpus=2)
        @ray.remote
        def nap():
            time.sleep(1000)
        @ray.remote
        def one():
            return 1
        def act():
            if {moment!r} == "get":
                ray.get(nap.remote())
            elif {moment!r} == "put":
                while True:
                    ray.put(bytes(3_000_000))
            else:
                while True:
                    ray.shutdown()
                    ray.init(num_cpus=2)
        ray.get(one.remote())
        try:
            say("ready")
            act()
        except KeyboardInterrupt:
            pass
        say(ray.get(one.remote(), timeout=30))
        try:
            say("again")
            act()
        except KeyboardInterrupt:
            sys.exit(7)
    """)
    presses = []
    driver.hear("ready")
    with pressing_ctrl_c(driver, presses):
        driver.hear("again")
    with pressing_ctrl_c(driver, presses):
        code, _, err = driver.end(90)
    assert code == 7, err
    # No more than Python says that it lost in the callback of a weak reference.
    assert len(presses) - 2 <= err.count("Exception ignored in"), err
    driver.expect_no_family()


@contextlib.contextmanager
def pressing_ctrl_c(driver: Driver, presses: list[int]) -> Iterator[None]:
    """Somewhere in the middle of what it does, and again where that changed nothing in 20 seconds."""
    done = threading.Event()

    def press() -> None:
        wait_s = 0.2
        while not done.wait(wait_s) and driver.process.returncode is None:
            presses.append(driver.process.pid)
            driver.process.send_signal(signal.SIGINT)
            wait_s = 20

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
