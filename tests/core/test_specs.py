"""A call that does not fit a signature is refused exactly when Python would refuse it."""

import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat._core import specs as module
from heliostat._core.specs import is_async_function, is_coroutine, is_generator, parameters_of


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


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("skip", [0, 1])
def test_a_plain_function_is_read_as_inspect_reads_it(
    function: Callable[..., None], skip: int
) -> None:
    assert parameters_of(function, skip=skip) == module._of_signature(function, skip)


def test_a_wrapped_function_takes_what_the_function_in_it_takes() -> None:
    @functools.wraps(only)
    def wrapper(*args: int, **kwargs: int) -> None: ...

    assert parameters_of(wrapper) == parameters_of(only)


def test_self_may_be_one_of_star_args() -> None:
    class Class:
        def method(*args: int) -> None: ...  # type: ignore[misc]  # on purpose

    parameters = parameters_of(Class.method, skip=1)
    assert parameters is not None
    parameters.check((1, 2), {})


async def coroutine() -> None: ...
async def async_items() -> AsyncIterator[int]:
    yield 1


def items() -> Iterator[int]:
    yield 1


class Kinds:
    async def method(self) -> None: ...
    @staticmethod
    async def static() -> None: ...


@pytest.mark.parametrize(
    "function",
    [plain, coroutine, async_items, items, Kinds.method, Kinds().method, Kinds.static, print, 3,
     functools.partial(coroutine), functools.partial(items)],
)  # fmt: skip
def test_the_kind_of_a_function_is_told_as_inspect_tells_it(function: object) -> None:
    is_async_generator = inspect.isasyncgenfunction(function)
    assert is_coroutine(function) == inspect.iscoroutinefunction(function)
    assert is_generator(function) == (inspect.isgeneratorfunction(function) or is_async_generator)
    assert is_async_function(function) == (is_coroutine(function) or is_async_generator)
