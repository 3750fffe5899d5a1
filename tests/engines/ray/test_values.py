"""Values as Ray carries them: our bytes, with its references beside ours."""

import gc
import pickle
from typing import Any

import numpy as np
import pytest

from heliostat._core.codec import Encoded
from heliostat._core.ids import fresh, nth
from heliostat._engines.ray.values import ERROR, ActorHold, Holds, StreamHold, ValueHold
from heliostat.exceptions import RayTaskError


class Real:
    """What stands for a thing of Ray's."""


def holds() -> Holds:
    return Holds(lambda thing: isinstance(thing, Real) and hasattr(thing, "handle"))


def test_a_value_comes_back_and_its_buffers_are_not_copied() -> None:
    array = np.arange(1000)
    packed = holds().pack({"array": array, "text": "t"})
    back = holds().unpack(packed)
    assert back["text"] == "t"
    assert np.shares_memory(back["array"], array)


def test_a_value_that_was_sent_may_be_sent_on_with_and_without_buffers_beside_it() -> None:
    array, views = np.arange(1000), list[Any]()
    packed = holds().pack(array)
    sent = pickle.dumps(packed, protocol=5, buffer_callback=views.append)
    assert len(views) == 1
    arrived = pickle.loads(sent, buffers=[view.raw() for view in views])
    on = pickle.loads(pickle.dumps(arrived, protocol=5))
    assert (holds().unpack(on) == array).all()
    assert np.shares_memory(holds().unpack(arrived), array)


def test_an_error_is_raised_as_its_cause() -> None:
    packed = holds().pack(RayTaskError("f", "trace", KeyError("lost")), ERROR)
    with pytest.raises(KeyError, match="lost"):
        holds().unpack(packed)


def test_rays_references_travel_beside_ours_and_are_found_by_their_number() -> None:
    here, there, real, handle = holds(), holds(), Real(), Real()
    handle.handle = True  # type: ignore[attr-defined]
    first = here.add(fresh(), ValueHold(real))
    actor = here.add(fresh(), ActorHold(handle))
    kind, data, buffers, _, _ = here.pack(None)
    ids = (first._id, actor._id)
    encoded = Encoded(data, buffers, ids)
    packed = here.packed(encoded)
    assert packed == (kind, data, (), ids, (real, handle))
    kept: list[Any] = [there._arrived(*pair) for pair in zip(ids, packed[4], strict=True)]
    assert [type(hold) for hold in kept] == [ValueHold, ActorHold]
    assert there.find(first._id) is kept[0]


def test_what_nobody_refers_to_is_let_go() -> None:
    table = holds()
    ref = table.add(fresh(), ValueHold(Real()))
    id_ = ref._id
    assert table.find(id_) is not None
    del ref
    gc.collect()
    assert table.find(id_) is None


def test_an_item_to_come_belongs_to_its_stream() -> None:
    table = holds()
    stream = table.add(fresh(), StreamHold(Real()))
    assert table.stream_of(nth(stream._id, 3)) is table.find(stream._id)
    assert table.stream_of(fresh()) is None
