"""The checksum of pieces put together is that of the whole."""

import random

import pytest

from heliostat.data.datasource._crc32c import _plain, crc32c, masked


@pytest.mark.parametrize("size", [0, 1, 8, 8191, 8192, 8193, 10_000, 65_536, 100_003])
def test_it_is_that_of_one_byte_after_the_other(size):
    data = random.Random(size).randbytes(size)
    assert crc32c(data) == _plain(data, 0xFFFFFFFF) ^ 0xFFFFFFFF


def test_known_values():
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    unmasked = masked(b"123456789") - 0xA282EAD8 & 0xFFFFFFFF
    assert (unmasked >> 17 | unmasked << 15) & 0xFFFFFFFF == 0xE3069283
