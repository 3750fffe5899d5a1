"""Who keeps an object alive: counting, without a leak and without a premature end."""

from heliostat._engines.local.messages import DRIVER, STORED, Value
from heliostat._engines.local.scheduling.ownership import Ownership

A, B, C = b"a" * 16, b"b" * 16, b"c" * 16
WORKER, OTHER = 1, 2


def stored(offset: int, *inside: bytes) -> Value:
    return (STORED, offset, (8,), inside)


def owned(*ids: bytes, proc: int = DRIVER) -> Ownership:
    table = Ownership()
    for offset, id_ in enumerate(ids):
        table.create(id_, proc, None)
        table.resolve(id_, stored(offset))
    return table


def test_a_value_goes_with_its_last_holder() -> None:
    table = owned(A)
    table.lend(DRIVER, A)
    table.drop(A, 1)
    assert table.freed == []
    table.drop(A, 1)
    assert table.freed == [A]
    assert A not in table.objects


def test_a_value_that_nobody_waits_for_goes_as_it_comes() -> None:
    table = Ownership()
    table.create(A, DRIVER, b"task")
    table.drop(A, 1)
    assert A in table.objects, "its task still runs"
    entry = table.resolve(A, stored(1))
    table.settle(A, entry)
    assert table.freed == [A]
    assert not table.objects


def test_a_value_keeps_what_it_refers_to() -> None:
    table = owned(A)
    table.create(B, DRIVER, None)
    table.resolve(B, stored(9, A))
    table.drop(A, 1)
    assert table.freed == []
    table.drop(B, 1)
    assert table.freed == [B, A]
    assert not table.objects


def test_what_a_task_holds_stays_until_it_lets_go() -> None:
    table = owned(A)
    table.hold((A, A))
    table.drop(A, 1)
    table.release((A,))
    assert table.freed == []
    table.release((A,))
    assert table.freed == [A]


def test_a_dead_process_gives_back_all_that_it_was_lent() -> None:
    table = owned(A, B)
    table.lend(WORKER, A)
    table.lend(WORKER, A)
    table.lend(OTHER, B)
    table.drop(A, 1)
    table.drop(B, 1)
    table.forget(WORKER)
    assert table.freed == [A]
    table.give_back(OTHER, B, 1)
    assert table.freed == [A, B]
    table.forget(WORKER)


def test_what_a_worker_made_dies_with_it_unless_others_hold_it() -> None:
    table = owned(A, B, proc=WORKER)
    table.lend(DRIVER, B)
    table.forget(WORKER)
    assert table.freed == [A]
    assert B in table.objects


def test_the_items_of_a_stream_go_with_the_stream() -> None:
    table = owned(A)
    table.create(C, DRIVER, b"task")
    table.objects[C].items = {A}
    table.hold((A,))
    table.drop(A, 1)
    table.drop(C, 1)
    assert table.freed == [A]
    table.check()


def test_a_long_chain_of_references_is_let_go_without_recursion() -> None:
    table = Ownership()
    ids = [index.to_bytes(16, "big") for index in range(5_000)]
    inside: tuple[bytes, ...] = ()
    for offset, id_ in enumerate(ids):
        table.create(id_, DRIVER, None)
        table.resolve(id_, stored(offset, *inside))
        for before in inside:
            table.drop(before, 1)
        inside = (id_,)
    table.drop(ids[-1], 1)
    assert not table.objects
    assert len(table.freed) == len(ids)
