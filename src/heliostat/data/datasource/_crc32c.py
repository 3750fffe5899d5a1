"""CRC-32C (Castagnoli), in numpy: pieces of the data at once, then put together.

The checksum of two pieces follows from theirs by a linear map that depends on the length of the
second alone, so a whole array of pieces is halved again and again.
"""

import functools
from typing import Any

import numpy as np

__all__ = ["crc32c", "masked"]

_POLYNOMIAL = 0x82F63B78
# Shorter data is not worth an array.
_SHORT = 8192
_PIECE = 64


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()
_ARRAY = np.array(_TABLE, np.uint32)


def _plain(data: bytes, state: int) -> int:
    for byte in data:
        state = _TABLE[(state ^ byte) & 0xFF] ^ state >> 8
    return state


@functools.cache
def _skip(length: int) -> Any:
    """What so many zero bytes, a power of two of pieces, make of each byte of a state."""
    single = np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32))
    if length == _PIECE:
        bits = np.array([_plain(bytes(_PIECE), int(bit)) for bit in single], np.uint32)
    else:
        half = _skip(length // 2)
        bits = _apply(half, _apply(half, single))
    table = np.zeros((4, 256), np.uint32)
    for place in range(4):
        for bit in range(8):
            has = np.arange(256) >> bit & 1 == 1
            table[place, has] ^= bits[8 * place + bit]
    return table


def _apply(table: Any, states: Any) -> Any:
    result = table[0][states & np.uint32(0xFF)]
    for place in range(1, 4):
        result = result ^ table[place][states >> np.uint32(8 * place) & np.uint32(0xFF)]
    return result


def _pieces(data: bytes) -> int:
    """The state after a power of two of pieces, from the state of nothing."""
    grid = np.frombuffer(data, np.uint8).reshape(-1, _PIECE)
    states = np.zeros(len(grid), np.uint32)
    for column in range(_PIECE):
        low = (states ^ grid[:, column]) & np.uint32(0xFF)
        states = _ARRAY[low] ^ states >> np.uint32(8)
    length = _PIECE
    while len(states) > 1:
        states = _apply(_skip(length), states[::2]) ^ states[1::2]
        length *= 2
    return int(states[0])


def crc32c(data: bytes) -> int:
    """The checksum.

    Args:
        data: Any bytes.

    Returns:
        A number of 32 bits.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    state = 0xFFFFFFFF
    at = 0
    while len(data) - at > _SHORT:
        size = _PIECE << (((len(data) - at) // _PIECE).bit_length() - 1)
        single = np.array([state], np.uint32)
        state = int(_apply(_skip(size), single)[0]) ^ _pieces(data[at : at + size])
        at += size
    return _plain(data[at:], state) ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """The checksum as TFRecords store it.

    Args:
        data: Any bytes.

    Returns:
        A number of 32 bits.
    """
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
