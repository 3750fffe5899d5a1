"""Rows about a session: their fields, and which of them a question wants."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

Filter = tuple[str, str, Any]

# Shown only with detail=True.
_DETAILS = {
    "creation_time_ms", "start_time_ms", "end_time_ms", "required_resources", "death_cause",
    "is_detached", "num_restarts", "resources", "bundles", "start_time", "end_time", "metadata",
    "runtime_env", "driver_exit_code", "ref_cnt", "custom_fields",
}  # fmt: skip


class State(Mapping[str, Any]):
    """One row: its fields are attributes and items.

    Example:
        >>> State({"name": "f", "state": "RUNNING"}).state
        'RUNNING'
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getattr__(self, name: str) -> Any:
        if name == "_fields" or name not in self._fields:
            raise AttributeError(f"no field {name!r}; there are: {', '.join(self._fields)}")
        return self._fields[name]

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def asdict(self) -> dict[str, Any]:
        """The fields as a dict."""
        return dict(self._fields)

    def __repr__(self) -> str:
        return f"State({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"


def select(
    rows: Iterable[Mapping[str, Any]],
    address: str | None,
    filters: Sequence[Filter] | None,
    limit: int,
    detail: bool,
    always: Container[str] = (),
) -> list[State]:
    """The last of the rows that pass all filters; times and causes only with `detail`.

    `always` are fields that are no details for this kind of row.

    Raises:
        ValueError: For an unknown field, a wrong predicate or a limit out of range.
    """
    check_address(address)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"limit must be an int >= 1, got {limit!r}")
    wanted = [_checked(each) for each in filters or ()]
    found = [row for row in rows if all(_passes(row, *each) for each in wanted)]
    return [
        State(
            {
                name: value
                for name, value in row.items()
                if detail or name in always or name not in _DETAILS
            }
        )
        for row in found[-limit:]
    ]


def _checked(wanted: Any) -> Filter:
    if isinstance(wanted, str) or len(wanted) != 3:
        raise ValueError(f"a filter is (field, predicate, value), got {wanted!r}")
    field, predicate, value = wanted
    if predicate not in ("=", "!=", "contains"):
        raise ValueError(f'a filter\'s predicate is "=", "!=" or "contains", got {predicate!r}')
    return field, predicate, value


def _passes(row: Mapping[str, Any], field: str, predicate: str, value: Any) -> bool:
    if field not in row:
        raise ValueError(f"there is no field {field!r} to filter by; there are: {', '.join(row)}")
    have, wanted = str(row[field]).lower(), str(value).lower()
    if predicate == "contains":
        return wanted in have
    return (have == wanted) is (predicate == "=")


def check_address(address: str | None) -> None:
    """Refuse another cluster than this session."""
    if address not in (None, "local", "auto"):
        raise NotImplementedError(
            f"address={address!r}: only this session can be asked; leave it out"
        )
