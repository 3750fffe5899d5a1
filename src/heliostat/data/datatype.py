"""DataType: the type of a column as users name it; a thin value around Arrow's."""

from dataclasses import dataclass

import pyarrow as pa

__all__ = ["DataType"]


@dataclass(frozen=True)
class DataType:
    """The type of a column.

    Args:
        arrow: The Arrow type.

    Example:
        >>> DataType.int64()
        DataType(int64)
        >>> DataType.list(DataType.string()).to_arrow_dtype()
        ListType(list<item: string>)
    """

    arrow: pa.DataType

    def __repr__(self) -> str:
        return f"DataType({self.arrow})"

    def to_arrow_dtype(self) -> pa.DataType:
        """The Arrow type."""
        return self.arrow

    @classmethod
    def from_arrow(cls, arrow_type: pa.DataType) -> "DataType":
        """Of an Arrow type.

        Args:
            arrow_type: The type.
        """
        return cls(arrow_type)

    @classmethod
    def int8(cls) -> "DataType":
        """Integers of 8 bits."""
        return cls(pa.int8())

    @classmethod
    def int16(cls) -> "DataType":
        """Integers of 16 bits."""
        return cls(pa.int16())

    @classmethod
    def int32(cls) -> "DataType":
        """Integers of 32 bits."""
        return cls(pa.int32())

    @classmethod
    def int64(cls) -> "DataType":
        """Integers of 64 bits."""
        return cls(pa.int64())

    @classmethod
    def uint8(cls) -> "DataType":
        """Integers of 8 bits from 0."""
        return cls(pa.uint8())

    @classmethod
    def uint16(cls) -> "DataType":
        """Integers of 16 bits from 0."""
        return cls(pa.uint16())

    @classmethod
    def uint32(cls) -> "DataType":
        """Integers of 32 bits from 0."""
        return cls(pa.uint32())

    @classmethod
    def uint64(cls) -> "DataType":
        """Integers of 64 bits from 0."""
        return cls(pa.uint64())

    @classmethod
    def float32(cls) -> "DataType":
        """Numbers of single precision."""
        return cls(pa.float32())

    @classmethod
    def float64(cls) -> "DataType":
        """Numbers of double precision."""
        return cls(pa.float64())

    @classmethod
    def bool(cls) -> "DataType":
        """True or false."""
        return cls(pa.bool_())

    @classmethod
    def string(cls) -> "DataType":
        """Text."""
        return cls(pa.string())

    @classmethod
    def binary(cls) -> "DataType":
        """Bytes."""
        return cls(pa.binary())

    @classmethod
    def timestamp(cls, unit: str = "us", tz: str | None = None) -> "DataType":
        """Points in time.

        Args:
            unit: `s`, `ms`, `us` or `ns`.
            tz: The time zone, if any.
        """
        return cls(pa.timestamp(unit, tz))  # type: ignore[call-overload]  # a unit as text

    @classmethod
    def list(cls, value_type: "DataType") -> "DataType":
        """Lists.

        Args:
            value_type: Of what.
        """
        return cls(pa.list_(value_type.arrow))


def arrow_type(kind: object) -> pa.DataType:
    """The Arrow type of what a user gave as a type.

    Args:
        kind: A DataType or an Arrow type.

    Returns:
        The Arrow type.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(kind, DataType):
        return kind.arrow
    if isinstance(kind, pa.DataType):
        return kind
    raise TypeError(f"a type must be a DataType or a pyarrow type, got {kind!r}")
