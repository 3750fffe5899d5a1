"""Messages survive the way to bytes and back, however the bytes are cut."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from heliostat._engines.local import messages as m
from heliostat._engines.local.transport.wire import Parser, encode

ID = st.binary(min_size=16, max_size=16)
VALUE = st.tuples(
    st.sampled_from([m.INLINE, m.ERROR, m.END]),
    st.binary(max_size=40),
    st.lists(st.binary(max_size=40), max_size=3).map(tuple),
    st.lists(ID, max_size=2).map(tuple),
)
MESSAGES = st.one_of(
    st.builds(m.Put, st.integers(0, 9), ID, VALUE),
    st.builds(m.Deliver, ID, VALUE),
    st.builds(m.Yielded, st.integers(0, 9), ID, st.integers(0, 9), VALUE),
    st.builds(m.Cancel, ID, st.booleans()),
    st.builds(m.Stop),
    st.builds(
        m.Finished,
        st.integers(0, 9), ID, st.lists(VALUE, max_size=2).map(tuple), st.integers(0, 2),
        st.floats(0, 1), st.lists(st.tuples(ID, st.integers(1, 3)), max_size=2).map(tuple),
    ),
)  # fmt: skip


@given(
    st.lists(st.lists(MESSAGES, min_size=1, max_size=4), max_size=5),
    st.lists(st.integers(1, 60), min_size=1),
)
def test_any_cut_gives_the_same_messages(frames: list[list[Any]], cuts: list[int]) -> None:
    data = b"".join(encode(frame) for frame in frames)
    parser, got, position = Parser(), [], 0
    while position < len(data):
        step = cuts[position % len(cuts)]
        got.extend(parser.feed(data[position : position + step]))
        position += step
    sent = [message for frame in frames for message in frame]
    assert got == sent
    assert [type(message) for message in got] == [type(message) for message in sent]


def test_buffers_arrive_as_bytes() -> None:
    value: m.Value = (m.INLINE, memoryview(b"pickle"), (memoryview(b"buffer"), bytearray(b"x")), ())
    (got,) = Parser().feed(encode([m.Put(1, bytes(16), value)]))
    assert got.value == (m.INLINE, b"pickle", (b"buffer", b"x"), ())


def test_every_kind_of_message_has_a_number_of_its_own() -> None:
    assert len(set(m.WIRE)) == len(m.WIRE)
