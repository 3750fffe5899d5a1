"""A call that does not fit a signature is refused exactly when Python would refuse it."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat._core.parameters import parameters_of


def plain(a: int, b: int) -> None: ...
def defaults(a: int, b: int = 0, c: int = 0) -> None: ...
def star(a: int, *more: int) -> None: ...
def only(a: int, *, k: int, m: int = 0) -> None: ...
def before(a: int, b: int, /, c: int, d: int = 0) -> None: ...
def before_default(a: int, b: int = 0, /, c: int = 0) -> None: ...
def before_and_named(a: int, b: int = 0, /, **more: int) -> None: ...
def everything(a: int, /, b: int, c: int = 0, *more: int, k: int, **named: int) -> None: ...
def nothing() -> None: ...


FUNCTIONS: list[Callable[..., None]] = [
    plain, defaults, star, only, before, before_default, before_and_named, everything, nothing,
]  # fmt: skip


@given(
    st.sampled_from(FUNCTIONS),
    st.integers(0, 5),
    st.sets(st.sampled_from(["a", "b", "c", "d", "k", "m", "z"])),
)
def test_it_agrees_with_the_call_itself(
    function: Callable[..., None], count: int, names: set[str]
) -> None:
    args: tuple[Any, ...] = (0,) * count
    kwargs = dict.fromkeys(sorted(names), 0)
    parameters = parameters_of(function)
    assert parameters is not None
    try:
        function(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            parameters.check(args, kwargs)
    else:
        parameters.check(args, kwargs)


def test_self_is_skipped() -> None:
    class Class:
        def method(self, x: int) -> None: ...

    parameters = parameters_of(Class.method, skip=1)
    assert parameters is not None
    parameters.check((1,), {})
    with pytest.raises(TypeError, match="'x'"):
        parameters.check((), {})


def test_it_can_be_pickled() -> None:
    parameters = parameters_of(everything)
    assert pickle.loads(pickle.dumps(parameters)) == parameters


def test_what_has_no_signature_has_no_parameters() -> None:
    assert parameters_of(dict.fromkeys) is None or parameters_of(int) is None
