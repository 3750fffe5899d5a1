"""Values and arguments survive the way to bytes and back; what cannot travel says where it sits."""

import pickle
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat._core.codec import decode, encode, encode_code, fill, pack
from heliostat._core.refs import COLLECTOR, ObjectRef
from heliostat.exceptions import SerializationError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@given(VALUES)
def test_every_plain_value_comes_back(value: object) -> None:
    assert decode(encode(value)) == value


def test_large_buffers_travel_beside_the_pickle_without_a_copy() -> None:
    array = np.arange(1000)
    encoded = encode({"a": array, "b": [array]})
    assert len(encoded.data) < 1000
    assert len(encoded.buffers) >= 1
    assert np.shares_memory(np.frombuffer(encoded.buffers[0], dtype=np.int64), array)
    assert np.shares_memory(decode(encoded)["a"], array)
    assert encoded.size() >= array.nbytes


def test_a_fortran_array_keeps_its_layout() -> None:
    array = np.asfortranarray(np.arange(12).reshape(3, 4))
    back = decode(encode(array))
    assert back.flags.f_contiguous
    assert np.array_equal(back, array)


def test_references_inside_a_value_are_listed() -> None:
    first, second = ObjectRef[int](b"1" * 16), ObjectRef[int](b"2" * 16)
    encoded = encode([first, {"deep": (second, first)}])
    assert sorted(set(encoded.refs)) == [b"1" * 16, b"2" * 16]
    assert COLLECTOR.refs is None


def test_a_failure_inside_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(SerializationError):
        encode([ObjectRef[int](b"1" * 16), threading.Lock()])
    assert COLLECTOR.refs is None


class Box:
    def __init__(self, **parts: object) -> None:
        self.__dict__.update(parts)


class Refuses:
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


class RefusesToBeSeen:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), "value = <unlocked"),
        ([1, threading.Lock()], "value[1]"),
        ({"a": {"b": (0, threading.Lock())}}, "value['a']['b'][1]"),
        (Box(model=Box(lock=threading.Lock())), "value.model.lock"),
        ({"x": Box(parts=[Refuses()])}, "value['x'].parts[0]"),
        ((n for n in range(3)), "value = <generator"),
        (RefusesToBeSeen(), "value.lock"),
    ],
)
def test_the_path_to_the_culprit_is_named(value: object, path: str) -> None:
    with pytest.raises(SerializationError) as caught:
        encode(value)
    assert path in str(caught.value)
    assert "Make it inside" in str(caught.value)


def test_the_error_is_a_type_error_and_a_pickling_error() -> None:
    with pytest.raises(TypeError):
        encode(threading.Lock())
    with pytest.raises(pickle.PicklingError):
        encode(threading.Lock())


def test_a_value_that_contains_itself_has_an_end() -> None:
    loop: list[object] = [threading.Lock()]
    loop.insert(0, loop)
    with pytest.raises(SerializationError):
        encode(loop)


def make_closure() -> Callable[[], object]:
    mutex = threading.Lock()

    def guarded() -> object:
        return mutex

    return guarded


def test_code_names_the_closure_variable_that_cannot_travel() -> None:
    with pytest.raises(SerializationError, match=r"guarded.*closure variable 'mutex'"):
        encode_code(make_closure(), "guarded")


def test_code_names_the_default_argument_that_cannot_travel() -> None:
    def local(lock: object = threading.Lock()) -> object:
        return lock

    with pytest.raises(SerializationError, match="lock"):
        encode_code(local, "local")


def ref(number: int) -> ObjectRef[Any]:
    return ObjectRef(number.to_bytes(16, "big"))


def test_code_keeps_the_file_it_comes_from_whatever_cloudpickle_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reduce = cloudpickle.Pickler.dispatch_table[CodeType]

    def forgets(code: CodeType) -> object:  # as cloudpickle 3.1.3 does
        return reduce(code.replace(co_filename="<dynamic-code>"))

    monkeypatch.setitem(cloudpickle.Pickler.dispatch_table, CodeType, forgets)
    scope: dict[str, Any] = {}
    exec(compile("def f(): return lambda: 1 / 0", "/home/me/train.py", "exec"), scope)
    for back in (pickle.loads(encode_code(scope["f"], "f")), decode(encode(scope["f"]))):
        assert back.__code__.co_filename == back().__code__.co_filename == "/home/me/train.py"


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
