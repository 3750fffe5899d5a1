"""Values survive the way to bytes and back; what cannot travel says where it sits."""

import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat._core.codec import decode, encode, encode_code
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
