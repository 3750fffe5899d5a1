"""Stage, then rename: all or nothing, also for those who are killed."""

import os
import subprocess
import sys
import threading

import pytest

from heliostat.data import _commit
from heliostat.data._commit import SaveMode, Staging


def put(path, mode, *names):
    staging = Staging(str(path), mode)
    stage = staging.begin()
    try:
        for name in names:
            os.makedirs(os.path.dirname(os.path.join(stage, name)), exist_ok=True)
            with open(os.path.join(stage, name), "w") as file:
                file.write(name)
    except BaseException:
        staging.abort()
        raise
    staging.commit()


def below(path):
    return _commit.files_below(str(path))


def test_nothing_is_seen_before_the_end(tmp_path):
    staging = Staging(str(tmp_path / "out"), SaveMode.APPEND)
    stage = staging.begin()
    open(os.path.join(stage, "a"), "w").close()
    assert not (tmp_path / "out").exists()
    assert all(name.startswith(".") for name in os.listdir(tmp_path))
    staging.commit()
    assert os.listdir(tmp_path / "out") == ["a"]
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("mode", [SaveMode.APPEND, SaveMode.OVERWRITE])
def test_what_is_given_up_leaves_what_was_there(tmp_path, mode):
    put(tmp_path / "out", SaveMode.APPEND, "a")
    staging = Staging(str(tmp_path / "out"), mode)
    open(os.path.join(staging.begin(), "b"), "w").close()
    staging.abort()
    assert os.listdir(tmp_path / "out") == ["a"]
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (SaveMode.APPEND, ["a", "b", "x=1/c", "x=1/d"]),
        (SaveMode.OVERWRITE, ["b", "x=1/d"]),
    ],
)
@pytest.mark.parametrize("cannot", [(), ("_exchange",), ("_link_tree",)])
def test_modes_decide_about_what_is_there(tmp_path, mode, names, cannot, monkeypatch):
    def refuse(*args):
        raise OSError(22, "not on this file system")

    for name in cannot:
        monkeypatch.setattr(_commit, name, refuse)
    put(tmp_path / "out", SaveMode.CREATE, "a", "x=1/c")
    put(tmp_path / "out", mode, "b", "x=1/d")
    assert below(tmp_path / "out") == names
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_of_the_same_name_is_replaced(tmp_path):
    put(tmp_path / "out", SaveMode.APPEND, "a", "b")
    (tmp_path / "out" / "a").write_text("old")
    put(tmp_path / "out", SaveMode.APPEND, "a", "c")
    assert (tmp_path / "out" / "a").read_text() == "a"


def test_somebody_who_was_faster_is_not_overwritten(tmp_path):
    staging = Staging(str(tmp_path / "out"), SaveMode.ERROR)
    open(os.path.join(staging.begin(), "a"), "w").close()
    put(tmp_path / "out", SaveMode.APPEND, "b")
    with pytest.raises(FileExistsError, match="in the meantime"):
        staging.commit()
    assert os.listdir(tmp_path / "out") == ["b"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_to_a_directory_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    for mode, names in ((SaveMode.APPEND, ["a", "b"]), (SaveMode.APPEND, ["c", "d"])):
        put(tmp_path / "out", mode, *names)
    assert (tmp_path / "out").is_symlink()
    assert below(tmp_path / "real") == ["a", "b", "c", "d"]


def test_many_appends_at_once_lose_nothing(tmp_path):
    put(tmp_path / "out", SaveMode.APPEND, "first", "second")

    def append(number):
        for turn in range(5):
            put(tmp_path / "out", SaveMode.APPEND, f"{number}.{turn}.a", f"{number}.{turn}.b")

    threads = [threading.Thread(target=append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(below(tmp_path / "out")) == 2 + 4 * 5 * 2
    assert os.listdir(tmp_path) == ["out"]


def test_what_a_killed_writer_left_is_removed_by_the_next_and_live_ones_are_left_alone(tmp_path):
    dead = Staging(str(tmp_path / "out"), SaveMode.APPEND)
    open(os.path.join(dead.begin(), "a"), "w").close()
    alive = Staging(str(tmp_path / "out"), SaveMode.APPEND)
    alive.begin()
    os.close(dead._lock)
    put(tmp_path / "out", SaveMode.APPEND, "b")
    assert sorted(os.listdir(tmp_path)) == sorted([os.path.basename(alive.directory), "out"])
    alive.abort()


# In a process of its own, which imports once and forks: a child for each of the kills.
KILLS = """
import os, random, signal, sys, time
from heliostat.data._commit import SaveMode, Staging, files_below

target, mode, kills = sys.argv[1], SaveMode(sys.argv[2]), int(sys.argv[3])


def write(turn, ready, go):
    staging = Staging(target, mode)
    stage = staging.begin()
    for number in range(20):
        with open(os.path.join(stage, f"{turn}.{number}"), "w") as file:
            file.write("whole")
    os.write(ready, b"x")
    os.read(go, 1)
    staging.commit()
    os._exit(0)


rng = random.Random(mode)
outcomes = set()
for turn in range(kills):
    before = frozenset(files_below(target))
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        write(turn, ready[1], go[0])
    os.read(ready[0], 1)
    os.write(go[1], b"x")
    # Somewhere in the milliseconds that a commit takes.
    time.sleep(rng.random() * (0.003 if mode == "append" else 0.0006))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for end in (*ready, *go):
        os.close(end)
    after = frozenset(files_below(target))
    new = frozenset(f"{turn}.{number}" for number in range(20))
    assert after in (before, new if mode == "overwrite" else before | new), (turn, after)
    assert all(open(os.path.join(target, name)).read() for name in after)
    outcomes.add(after == before)
print(sorted(outcomes))
"""


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_killed_at_any_of_fifty_points_the_target_shows_all_or_nothing(tmp_path, mode):
    target = tmp_path / "out"
    put(target, SaveMode.CREATE, *(f"old.{number}" for number in range(20)))
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(target), mode, "50"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[False, True]\n"
    # The next one removes what the killed have left.
    put(target, SaveMode.APPEND, "last")
    assert os.listdir(tmp_path) == ["out"]
