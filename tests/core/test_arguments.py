"""Arguments are split into values and references, and put together again."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from heliostat._core.arguments import fill, pack
from heliostat._core.codec import decode
from heliostat._core.refs import ObjectRef


def ref(number: int) -> ObjectRef[Any]:
    return ObjectRef(number.to_bytes(16, "big"))


def test_no_arguments_are_always_the_same_bytes() -> None:
    assert pack("f", (), {}) is pack("f", (), {})
    assert decode(pack("f", (), {}).encoded) == ((), {})


def test_references_that_are_arguments_are_taken_out_by_place_and_name() -> None:
    call = pack("f", (1, ref(7), 3), {"a": ref(8), "b": 2})
    assert call.slots == (1, "a")
    assert call.needs == (ref(7).binary(), ref(8).binary())
    assert decode(call.encoded) == ((1, None, 3), {"a": None, "b": 2})
    assert call.encoded.refs == ()


def test_references_inside_arguments_stay() -> None:
    call = pack("f", ([ref(7)],), {"a": {"deep": ref(8)}})
    assert call.slots == ()
    assert set(call.encoded.refs) == {ref(7).binary(), ref(8).binary()}


ARGUMENT = st.tuples(st.booleans(), st.integers(0, 1000))


@given(st.lists(ARGUMENT), st.dictionaries(st.text(min_size=1), ARGUMENT))
def test_what_was_split_can_be_put_together(
    positional: list[tuple[bool, int]], named: dict[str, tuple[bool, int]]
) -> None:
    def make(argument: tuple[bool, int]) -> Any:
        is_ref, number = argument
        return ref(number) if is_ref else number

    call = pack("f", tuple(map(make, positional)), {name: make(a) for name, a in named.items()})
    args, kwargs = decode(call.encoded)
    values = [int.from_bytes(need, "big") for need in call.needs]
    args, kwargs = fill(args, kwargs, call.slots, values)
    assert list(args) == [number for _, number in positional]
    assert dict(kwargs) == {name: number for name, (_, number) in named.items()}
