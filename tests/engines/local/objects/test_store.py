"""What is written is what is read, whatever its size and whoever copies."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest

from heliostat._core.codec import Encoded
from heliostat._engines.local.objects.store import Store, create_segment, extent, spans

MIB = 1 << 20


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store(create_segment(64 * MIB), 64 * MIB)
    yield store
    gc.collect()
    store.close()


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("size", [1, 63, 64, 65, MIB, 8 * MIB, 8 * MIB + 1, 20 * MIB + 12_345])
def test_a_value_is_read_as_it_was_written(store: Store, size: int, fresh: bool) -> None:
    written = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    sizes = store.write(4096, Encoded(b"head", (memoryview(written),)), fresh=fresh)
    assert sizes == (4, size)
    released: list[bytes] = []
    head, body = store.read(b"id", 4096, sizes, released.append)
    assert bytes(head) == b"head"
    assert body.readonly
    assert np.array_equal(np.frombuffer(body, np.uint8), written)
    assert not released
    del head, body
    assert released == [b"id"]


def test_a_copy_stays_within_its_bounds(store: Store) -> None:
    size = 9 * MIB + 7
    for offset in (0, 2 * size):
        store.write(offset, Encoded(b"\xaa" * size), fresh=False)
    store.write(size, Encoded(b"\xbb" * (size - 1)), fresh=False)
    before, after = (store.read(b"", o, (size,), lambda _: None)[0] for o in (0, 2 * size))
    assert bytes(before) == bytes(after) == b"\xaa" * size


def test_parts_begin_on_cache_lines() -> None:
    assert list(spans((1, 64, 65))) == [(0, 1), (64, 128), (128, 193)]
    assert extent((1, 64, 65)) == 256
