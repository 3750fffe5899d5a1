"""What can be done with strings, lists, structs and times: methods that name Arrow's kernels.

Each is given the function that makes a node (`Expr._call`), so that this file need not know the
nodes. `_evaluate` has the few kernels that Arrow lacks.
"""

import operator
from collections.abc import Callable
from typing import Any, Literal

Make = Callable[..., Any]


class Namespace:
    """The value to work on, as a function that makes calls of it."""

    def __init__(self, call: Make) -> None:
        self._call = call


def _unary(kernel: str, summary: str) -> Any:
    def method(self: Namespace) -> Any:
        return self._call(kernel)

    method.__doc__ = summary
    return method


def _search(kernel: str, summary: str) -> Any:
    def method(self: Namespace, pattern: str, *, ignore_case: bool = False) -> Any:
        return self._call(kernel, pattern=pattern, ignore_case=ignore_case)

    method.__doc__ = summary
    return method


class StringNamespace(Namespace):
    """Strings."""

    len = _unary("utf8_length", "How many characters.")
    byte_len = _unary("binary_length", "How many bytes.")
    upper = _unary("utf8_upper", "In capitals.")
    lower = _unary("utf8_lower", "In small letters.")
    capitalize = _unary("utf8_capitalize", "The first letter large, the others small.")
    title = _unary("utf8_title", "The first letter of each word large.")
    swapcase = _unary("utf8_swapcase", "Small letters large and large ones small.")
    reverse = _unary("utf8_reverse", "Backwards.")
    is_alnum = _unary("utf8_is_alnum", "Whether all are letters or digits.")
    is_alpha = _unary("utf8_is_alpha", "Whether all are letters.")
    is_ascii = _unary("string_is_ascii", "Whether all are ASCII.")
    is_decimal = _unary("utf8_is_decimal", "Whether all are decimal digits.")
    is_digit = _unary("utf8_is_digit", "Whether all are digits.")
    is_lower = _unary("utf8_is_lower", "Whether all letters are small.")
    is_numeric = _unary("utf8_is_numeric", "Whether all are numeric.")
    is_printable = _unary("utf8_is_printable", "Whether all can be printed.")
    is_space = _unary("utf8_is_space", "Whether all are white space.")
    is_title = _unary("utf8_is_title", "Whether it is written like a title.")
    is_upper = _unary("utf8_is_upper", "Whether all letters are large.")
    starts_with = _search("starts_with", "Whether it begins so.")
    ends_with = _search("ends_with", "Whether it ends so.")
    contains = _search("match_substring", "Whether it contains this.")
    match = _search("match_like", "Whether it is like this pattern of SQL, with % and _.")
    match_regex = _search("match_substring_regex", "Whether the regular expression is in it.")
    find = _search("find_substring", "Where this is in it first, in bytes; -1 for nowhere.")
    find_regex = _search("find_substring_regex", "Where the expression is first; -1 for nowhere.")
    count = _search("count_substring", "How often this is in it.")
    count_regex = _search("count_substring_regex", "How often the expression is in it.")

    def slice(self, start: int = 0, stop: int | None = None, step: int = 1) -> Any:
        """Some of its characters, as in Python.

        Args:
            start: The first.
            stop: The one after the last.
            step: Each how many-th.
        """
        return self._call("utf8_slice_codeunits", start=start, stop=stop, step=step)

    def replace(
        self, pattern: str, replacement: str, *, max_replacements: int | None = None
    ) -> Any:
        """With a text in place of another.

        Args:
            pattern: What to replace.
            replacement: By what.
            max_replacements: How often at most.
        """
        options = {"pattern": pattern, "replacement": replacement}
        return self._call("replace_substring", **options, max_replacements=max_replacements)

    def replace_regex(
        self, pattern: str, replacement: str, *, max_replacements: int | None = None
    ) -> Any:
        """With a text in place of what a regular expression finds.

        Args:
            pattern: The expression.
            replacement: The text; `\\1` is the first group.
            max_replacements: How often at most.
        """
        options = {"pattern": pattern, "replacement": replacement}
        return self._call("replace_substring_regex", **options, max_replacements=max_replacements)

    def replace_slice(self, start: int, stop: int, replacement: str) -> Any:
        """With a text in place of some of its characters.

        Args:
            start: The first.
            stop: The one after the last.
            replacement: The text.
        """
        return self._call("utf8_replace_slice", start=start, stop=stop, replacement=replacement)

    def split(self, pattern: str, *, max_splits: int | None = None, reverse: bool = False) -> Any:
        """As a list, cut at a text.

        Args:
            pattern: Where to cut.
            max_splits: How often at most.
            reverse: Cut from the end.
        """
        options = {"pattern": pattern, "max_splits": max_splits, "reverse": reverse}
        return self._call("split_pattern", **options)

    def split_regex(self, pattern: str, *, max_splits: int | None = None) -> Any:
        """As a list, cut at a regular expression.

        Args:
            pattern: Where to cut.
            max_splits: How often at most.
        """
        return self._call("split_pattern_regex", pattern=pattern, max_splits=max_splits)

    def split_whitespace(self, *, max_splits: int | None = None, reverse: bool = False) -> Any:
        """As a list, cut at white space.

        Args:
            max_splits: How often at most.
            reverse: Cut from the end.
        """
        return self._call("utf8_split_whitespace", max_splits=max_splits, reverse=reverse)

    def extract(self, pattern: str) -> Any:
        """What the named groups of a regular expression find, as a struct.

        Args:
            pattern: The expression, such as `(?P<year>\\d+)`.
        """
        return self._call("extract_regex", pattern=pattern)

    def repeat(self, n: int) -> Any:
        """Several times.

        Args:
            n: How often.
        """
        return self._call("binary_repeat", n)

    def center(self, width: int, padding: str = " ") -> Any:
        """In the middle of a field.

        Args:
            width: How wide.
            padding: What to fill it with.
        """
        return self._call("utf8_center", width=width, padding=padding)

    def lpad(self, width: int, padding: str = " ") -> Any:
        """At the right of a field.

        Args:
            width: How wide.
            padding: What to fill it with.
        """
        return self._call("utf8_lpad", width=width, padding=padding)

    def rpad(self, width: int, padding: str = " ") -> Any:
        """At the left of a field.

        Args:
            width: How wide.
            padding: What to fill it with.
        """
        return self._call("utf8_rpad", width=width, padding=padding)

    def pad(
        self, width: int, fillchar: str = " ", side: Literal["left", "right", "both"] = "right"
    ) -> Any:
        """In a field.

        Args:
            width: How wide.
            fillchar: What to fill it with.
            side: Where to fill it.

        Raises:
            ValueError: if the side is none.
        """
        kernels = {"left": "utf8_lpad", "right": "utf8_rpad", "both": "utf8_center"}
        if side not in kernels:
            raise ValueError(f"side must be one of {list(kernels)}, got {side!r}")
        return self._call(kernels[side], width=width, padding=fillchar)

    def strip(self, characters: str | None = None) -> Any:
        """Without what is at both ends.

        Args:
            characters: These; white space if None.
        """
        return self._strip("utf8_trim", characters)

    def lstrip(self, characters: str | None = None) -> Any:
        """Without what is at the beginning.

        Args:
            characters: These; white space if None.
        """
        return self._strip("utf8_ltrim", characters)

    def rstrip(self, characters: str | None = None) -> Any:
        """Without what is at the end.

        Args:
            characters: These; white space if None.
        """
        return self._strip("utf8_rtrim", characters)

    def _strip(self, kernel: str, characters: str | None) -> Any:
        if characters is None:
            return self._call(f"{kernel}_whitespace")
        return self._call(kernel, characters=characters)


def _position(key: Any, takes: str) -> int:
    if not hasattr(key, "__index__"):
        raise TypeError(f"{takes}, got {key!r}")
    return operator.index(key)


class ListNamespace(Namespace):
    """Lists."""

    len = _unary("list_value_length", "How many values.")
    flatten = _unary("list_flatten_once", "Lists of lists as lists.")

    def get(self, index: int) -> Any:
        """One of its values; null where the list is too short.

        Args:
            index: Which, from 0; from the end if it is below 0.
        """
        return self._call("list_get", index=index)

    def slice(
        self, start: int | None = None, stop: int | None = None, step: int | None = None
    ) -> Any:
        """Some of its values.

        Args:
            start: The first.
            stop: The one after the last.
            step: Each how many-th.
        """
        return self._call("list_slice", start=start or 0, stop=stop, step=step or 1)

    def sort(
        self,
        order: Literal["ascending", "descending"] = "ascending",
        null_placement: Literal["at_start", "at_end"] = "at_end",
    ) -> Any:
        """In order.

        Args:
            order: `ascending` or `descending`.
            null_placement: `at_start` or `at_end`.

        Raises:
            ValueError: for anything else.
        """
        if order not in ("ascending", "descending"):
            raise ValueError(f"order must be 'ascending' or 'descending', got {order!r}")
        if null_placement not in ("at_start", "at_end"):
            raise ValueError(f"null_placement must be at_start or at_end, got {null_placement!r}")
        return self._call("list_sort", order=order, null_placement=null_placement)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self.slice(key.start, key.stop, key.step)
        return self.get(_position(key, "list[...] takes a position or a slice"))


class StructNamespace(Namespace):
    """Structs."""

    def field(self, field_name: str) -> Any:
        """One of its fields.

        Args:
            field_name: Its name.
        """
        return self._call("struct_field", indices=field_name)

    def field_by_index(self, index: int) -> Any:
        """One of its fields.

        Args:
            index: Which, from 0.
        """
        return self._call("struct_field", indices=index)

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, str):
            return self.field(key)
        return self.field_by_index(_position(key, "struct[...] takes a name or a position"))


class DatetimeNamespace(Namespace):
    """Dates and times."""

    year = _unary("year", "The year.")
    quarter = _unary("quarter", "The quarter, from 1.")
    month = _unary("month", "The month, from 1.")
    day = _unary("day", "The day of the month, from 1.")
    hour = _unary("hour", "The hour, from 0.")
    minute = _unary("minute", "The minute, from 0.")
    second = _unary("second", "The second, from 0.")
    day_of_week = _unary("day_of_week", "The day of the week, Monday is 0.")
    day_of_year = _unary("day_of_year", "The day of the year, from 1.")

    def strftime(self, fmt: str) -> Any:
        """As text.

        Args:
            fmt: The format, as of C's `strftime`.
        """
        return self._call("strftime", format=fmt)

    def ceil(self, unit: str) -> Any:
        """The next whole unit after it.

        Args:
            unit: `year`, `month`, `week`, `day`, `hour`, `minute`, `second`, ...
        """
        return self._call("ceil_temporal", unit=unit)

    def floor(self, unit: str) -> Any:
        """The whole unit it is in.

        Args:
            unit: `year`, `month`, `week`, `day`, `hour`, `minute`, `second`, ...
        """
        return self._call("floor_temporal", unit=unit)

    def round(self, unit: str) -> Any:
        """The nearest whole unit.

        Args:
            unit: `year`, `month`, `week`, `day`, `hour`, `minute`, `second`, ...
        """
        return self._call("round_temporal", unit=unit)


class ArrayNamespace(Namespace):
    """Arrays of a fixed shape."""

    to_list = _unary("array_to_list", "As lists.")


class MapNamespace(Namespace):
    """Maps."""

    keys = _unary("map_keys", "Their keys, as lists.")
    values = _unary("map_values", "Their values, as lists.")
