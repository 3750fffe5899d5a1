"""Real signals, real deaths: nothing survives its driver, and work survives its worker."""

import os
import random
import signal
import subprocess

import pytest

from tests.engines.conftest import Drive

BUSY = """
ray.init(num_cpus=2)
@ray.remote
def leaf(n):
    time.sleep(0.003)
    return bytes(200_000) if n % 2 else n
@ray.remote
def parent(n):
    return len(ray.get([leaf.remote(i) for i in range(n)]))
@ray.remote
class Actor:
    def work(self, n):
        return ray.get(parent.remote(n))
@ray.remote
def stream():
    while True:
        yield bytes(100_000)
actors = [Actor.remote() for _ in range(2)]
endless = stream.remote()
ray.get(leaf.remote(0))
say("ready")
while True:
    ray.get([actor.work.remote(3) for actor in actors] + [parent.remote(2)])
    next(endless)
"""


@pytest.mark.parametrize("moment", range(6))
def test_nothing_survives_a_killed_driver(moment: int, drive: Drive) -> None:
    driver = drive(BUSY)
    driver.hear("ready")
    assert len(driver.family()) > 2
    delay_s = random.Random(moment).uniform(0.0, 0.3)
    with pytest.raises(subprocess.TimeoutExpired):
        driver.process.wait(delay_s)
    driver.process.kill()
    driver.process.wait()
    driver.expect_no_family()


@pytest.mark.parametrize("moment", range(3))
def test_nothing_survives_a_driver_killed_while_it_starts(moment: int, drive: Drive) -> None:
    driver = drive("say('begin')\n" + BUSY)
    driver.hear("begin")
    with pytest.raises(subprocess.TimeoutExpired):
        driver.process.wait(0.03 * moment)
    driver.process.kill()
    driver.process.wait()
    driver.expect_no_family()


def test_nothing_survives_a_terminated_driver(drive: Drive) -> None:
    driver = drive(BUSY)
    driver.hear("ready")
    driver.process.terminate()
    code, _, _ = driver.end()
    assert code == -signal.SIGTERM
    driver.expect_no_family()


def test_ctrl_c_ends_a_driver_that_waits_for_a_stubborn_task(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def stubborn():
            say("ready")
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
        ray.get(stubborn.remote())
    """)
    driver.hear("ready")
    os.killpg(driver.process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    code, _, err = driver.end()
    assert code != 0
    assert "KeyboardInterrupt" in err
    assert "Traceback" in err
    driver.expect_no_family()


def test_ctrl_c_can_be_caught_and_the_session_goes_on(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def nap(seconds):
            time.sleep(seconds)
            return seconds
        ray.get(nap.remote(0))
        try:
            say("ready")
            ray.get(nap.remote(30))
        except KeyboardInterrupt:
            say("caught")
        say(ray.get(nap.remote(0.5)))
    """)
    driver.hear("ready")
    os.killpg(driver.process.pid, signal.SIGINT)
    code, out, err = driver.end()
    assert (code, out.split()) == (0, ["caught", "0.5"]), err
    driver.expect_no_family()


@pytest.mark.parametrize(
    ("leave", "code"),
    [("pass", 0), ("sys.exit(3)", 3), ("os._exit(4)", 4), ("raise ValueError('own')", 1)],
)
def test_a_driver_leaves_without_shutdown(leave: str, code: int, drive: Drive) -> None:
    driver = drive(f"""
        @ray.remote
        class Actor:
            def work(self):
                time.sleep(60)
        @ray.remote
        def one():
            return 1
        actor = Actor.remote()
        pending = actor.work.remote()
        assert ray.get(one.remote()) == 1
        {leave}
    """)
    assert driver.end()[0] == code
    driver.expect_no_family()


def test_two_drivers_do_not_meet(drive: Drive) -> None:
    source = """
        ray.init(num_cpus=2)
        @ray.remote
        class Counter:
            def __init__(self): self.n = 0
            def add(self):
                self.n += 1
                return self.n
        counter = Counter.options(name="same").remote()
        ray.get(counter.add.remote())
        go = threading.Event()
        signal.signal(signal.SIGUSR1, lambda *_: go.set())
        say("ready")
        go.wait(20)
        say(ray.get([ray.get_actor("same").add.remote() for _ in range(3)]))
    """
    first, second = drive(source), drive(source)
    first.hear("ready")
    second.hear("ready")
    first.process.send_signal(signal.SIGUSR1)
    second.process.send_signal(signal.SIGUSR1)
    assert first.end()[:2] == (0, "[2, 3, 4]\n")
    assert second.end()[:2] == (0, "[2, 3, 4]\n")


def test_a_worker_killed_from_outside_is_replaced(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def work(path):
            with open(path, "a") as file:
                file.write(f"{os.getpid()}\\n")
            if len(open(path).readlines()) == 1:
                time.sleep(60)
            return "done"
        path = sys.argv[0] + ".pids"
        ref = work.remote(path)
        while not os.path.exists(path) or not open(path).read().endswith("\\n"):
            time.sleep(0.005)
        os.kill(int(open(path).readline()), signal.SIGKILL)
        say(ray.get(ref, timeout=20))
    """)
    assert driver.end()[:2] == (0, "done\n")


def test_idle_workers_killed_from_outside_do_no_harm(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def pid():
            return os.getpid()
        for _ in range(5):
            for number in set(ray.get([pid.remote() for _ in range(4)])):
                os.kill(number, signal.SIGKILL)
            assert ray.get(pid.remote(), timeout=20)
        say("fine")
    """)
    assert driver.end()[:2] == (0, "fine\n")


def test_workers_are_started_again_after_their_parent_was_killed(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def parent():
            return os.getppid()
        zygote = ray.get(parent.remote())
        assert zygote != os.getpid()
        os.kill(zygote, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while ray.get(parent.remote(), timeout=20) == zygote:
            assert time.monotonic() < deadline
        say("again")
    """)
    assert driver.end()[:2] == (0, "again\n")


STOPPED = """
ray.init(num_cpus=1)
@ray.remote(num_cpus=0)
def parent():
    return os.getppid()
@ray.remote(num_cpus=0)
class Actor:
    def ready(self):
        return os.getpid()
zygote = ray.get(parent.remote())
actor = Actor.remote()
ray.get(actor.ready.remote())
os.kill(zygote, signal.SIGSTOP)
"""


def test_a_stopped_zygote_is_named_and_goes_on_and_so_does_what_waits_for_it(drive: Drive) -> None:
    driver = drive(
        STOPPED
        + """
others = [Actor.remote() for _ in range(3)]
ray.kill(actor)
pids = ray.get([other.ready.remote() for other in others], timeout=20)
assert len(set(pids)) == 3
try:
    ray.get(actor.ready.remote(), timeout=20)
except ray.exceptions.ActorDiedError:
    say("dead")
from heliostat.util.state import list_cluster_events
(event,) = list_cluster_events(filters=[("severity", "=", "WARNING")])
say(event.message)
say(zygote)
"""
    )
    code, out, err = driver.end(60)
    dead, event, zygote = out.splitlines()
    assert (code, dead) == (0, "dead")
    expected = (
        f"the process that starts workers (pid {zygote}) was stopped for 2 s, as by SIGSTOP, and was "
        "continued"
    )
    assert event == expected
    assert err == f"heliostat: {expected}\n"


def test_a_stopped_zygote_does_not_keep_its_session_from_ending(drive: Drive) -> None:
    driver = drive(STOPPED + "ray.shutdown()\nsay('over')\n")
    assert driver.end()[:2] == (0, "over\n")
    driver.expect_no_family()


def test_a_stopped_zygote_does_not_outlive_its_driver(drive: Drive) -> None:
    driver = drive(STOPPED + "say('ready')\ntime.sleep(60)\n")
    driver.hear("ready")
    driver.process.kill()
    driver.process.wait()
    driver.expect_no_family()


def test_all_that_a_worker_prints_arrives(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def chatter(n):
            for i in range(n):
                print("line", i)
            print("to stderr", file=sys.stderr)
            return n
        say(ray.get(chatter.remote(20_000)))
    """)
    code, out, err = driver.end()
    assert code == 0
    assert sum("line" in line for line in out.splitlines()) == 20_000
    assert "to stderr" in err


def test_a_worker_may_close_its_output(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=1)
        @ray.remote
        def close():
            os.close(1)
            os.close(2)
            return "closed"
        @ray.remote
        def after():
            return "after"
        say(ray.get(close.remote(), timeout=20))
        say(ray.get(after.remote(), timeout=20))
    """)
    assert driver.end()[:2] == (0, "closed\nafter\n")


def test_a_child_of_a_worker_does_not_outlive_the_session(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=1)
        @ray.remote
        def fork():
            subprocess.Popen(["sleep", "60"])
            return "forked"
        say(ray.get(fork.remote(), timeout=20))
    """)
    assert driver.end()[:2] == (0, "forked\n")
    driver.expect_no_family()


def test_a_forked_child_of_the_driver_leaves_the_session_alone(drive: Drive) -> None:
    driver = drive("""
        import multiprocessing
        ray.init(num_cpus=2)
        @ray.remote
        def one():
            return 1
        ref = ray.put(bytes(1_000_000))
        assert ray.get(one.remote()) == 1
        def child():
            assert not ray.is_initialized()
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        assert process.exitcode == 0, process.exitcode
        assert ray.get(one.remote(), timeout=20) == 1
        assert len(ray.get(ref)) == 1_000_000
        say("fine")
    """)
    code, out, err = driver.end()
    assert (code, out) == (0, "fine\n"), err
    driver.expect_no_family()


def test_a_driver_may_run_from_a_thread(drive: Drive) -> None:
    driver = drive("""
        def main():
            ray.init(num_cpus=2)
            @ray.remote
            def one():
                return 1
            say(ray.get(one.remote()))
            ray.shutdown()
        thread = threading.Thread(target=main)
        thread.start()
        thread.join()
    """)
    assert driver.end()[:2] == (0, "1\n")
    driver.expect_no_family()


def test_a_session_under_a_crash_of_the_interpreter_leaves_nothing(drive: Drive) -> None:
    driver = drive("""
        import ctypes, faulthandler, resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ray.init(num_cpus=2)
        ref = ray.put(bytes(10_000_000))
        ctypes.string_at(0)
    """)
    assert driver.end()[0] == -signal.SIGSEGV
    driver.expect_no_family()
