"""Descriptors, processes, threads and memory that run out: a clear error, and the session lives."""

import pytest

from tests.engines.conftest import Drive


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
    for word in ("ready", "again"):
        driver.hear(word)
        with pytest.raises(Exception, match="timed out"):
            driver.process.wait(0.2)  # somewhere in the middle of it
        driver.process.send_signal(2)  # SIGINT
    code, _, err = driver.end(60)
    assert code == 7, err
    driver.expect_no_family()
