"""Arguments that cannot be pickled have the names that users know them by."""

from __future__ import annotations

import threading

import pytest

from heliostat import serve
from heliostat.exceptions import SerializationError
from heliostat.serve._unpicklable import explained, named

LOCK = threading.Lock()


def test_the_first_value_that_is_to_blame_is_named_with_the_way_to_its_culprit():
    error = SerializationError("as it came")
    told = explained(error, named((1, {"x": [LOCK]}), {"lock": LOCK}), "Model.bind()")
    assert str(told).startswith("Model.bind() has argument 1['x'][0], which cannot be pickled")
    assert explained(error, named((1,), {"two": 2}), "Model.bind()") is error


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [((1, LOCK), {}, "deployment 'Model' has argument 1,"), ((), {"a": LOCK}, "'Model' has a,")],
)
def test_a_constructors_argument_is_named_by_its_place_or_its_name(port, args, kwargs, words):
    @serve.deployment
    class Model:
        def __init__(self, *args: object, **kwargs: object) -> None: ...

    with pytest.raises(SerializationError, match=words):
        serve.run(Model.bind(*args, **kwargs))
    assert not serve.status().applications


def test_a_class_that_uses_what_cannot_be_pickled_is_named(port):
    lock = threading.Lock()

    @serve.deployment
    class Guarded:
        def __call__(self) -> bool:
            return lock.locked()

    with pytest.raises(SerializationError, match=r"has .*Guarded.*, which cannot be pickled"):
        serve.run(Guarded.bind())
