"""Identifiers are unique, short to look at, and number the results of a task."""

import os

from heliostat._core.ids import SIZE, ActorID, ObjectID, fresh, nth


def test_fresh_ids_differ_and_end_in_zeros() -> None:
    ids = {fresh() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(id_) == SIZE and id_.endswith(bytes(4)) for id_ in ids)


def test_the_first_result_of_a_task_has_its_id() -> None:
    task = fresh()
    assert nth(task, 0) == task
    assert nth(nth(task, 7), 0) == task
    assert len({nth(task, index) for index in range(1000)}) == 1000


def test_a_forked_process_makes_ids_of_its_own() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, fresh())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = os.read(read, SIZE)
    os.close(read)
    os.close(write)
    assert theirs[:7] != fresh()[:7]


def test_an_id_shows_its_kind_and_its_ends() -> None:
    id_ = ActorID(bytes(range(16)))
    assert repr(id_) == "ActorID(00010203..0c0d0e0f)"
    assert str(id_) == repr(id_)
    assert ObjectID(id_) == id_
