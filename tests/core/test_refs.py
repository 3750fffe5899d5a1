"""References as values: equal by identifier, counted on the way out."""

import pickle
from collections.abc import Iterator

import pytest

import heliostat as ray
from heliostat._core.refs import ObjectRef, shape

ONE, TWO = b"1" * 16, b"2" * 16


@pytest.fixture
def inline() -> Iterator[None]:
    ray.init(engine="inline")
    yield
    ray.shutdown()


def test_references_are_equal_by_identifier() -> None:
    assert ObjectRef[int](ONE) == ObjectRef[int](ONE)
    assert ObjectRef[int](ONE) != ObjectRef[int](TWO)
    assert ObjectRef[int](ONE) != ONE
    assert len({ObjectRef[int](ONE), ObjectRef[int](ONE)}) == 1


def test_the_end_of_a_reference_is_told_once() -> None:
    dropped: list[bytes] = []
    ref: ObjectRef[int] = ObjectRef(ONE, dropped.append)
    other = ref
    del ref
    assert dropped == []
    del other
    assert dropped == [ONE]


def test_a_reference_shows_its_identifier() -> None:
    assert repr(ObjectRef[int](ONE)) == f"ObjectRef({ONE.hex()})"
    assert ObjectRef[int](ONE).hex() == ONE.hex()


@pytest.mark.usefixtures("inline")
def test_a_reference_can_be_pickled_by_hand() -> None:
    ref = ray.put([1])
    assert ray.get(pickle.loads(pickle.dumps(ref))) == [1]


@pytest.mark.usefixtures("inline")
def test_a_stream_can_be_pickled_in_the_middle() -> None:
    @ray.remote
    def count() -> Iterator[int]:
        yield from range(3)

    stream = count.remote()
    assert ray.get(next(stream)) == 0
    again = pickle.loads(pickle.dumps(stream))
    assert [ray.get(ref) for ref in again] == [1, 2]


def test_results_have_the_shape_that_was_asked_for() -> None:
    refs = [ObjectRef[int](ONE), ObjectRef[int](TWO)]
    assert shape(refs[:1], 1) is refs[0]
    assert shape(refs, 2) is refs
    assert shape([], 0) is None
    assert isinstance(shape(refs[:1], "streaming"), ray.ObjectRefGenerator)


def test_what_is_not_written_down_of_a_reference_is_empty() -> None:
    ref: ObjectRef[int] = ObjectRef(ONE)
    assert (ref.tensor_transport(), ref.call_site()) == (None, "")
