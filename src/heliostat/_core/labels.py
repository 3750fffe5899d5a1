"""Labels of machines: how they are written, and rules about them. Knows no engine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from heliostat._core.options import NODE_ID

_NAME = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_PREFIX = rf"{_NAME}(\.{_NAME})*"
_SELECTION = re.compile(rf"(!?)(?:in\(({_NAME}(?:, ?{_NAME})*)\)|({_NAME})?)")


class Rule(NamedTuple):
    """What a label has to be: `operator` is "in", "not in", "exists" or "does not exist"."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether a machine with these labels will do.

        Example:
            >>> Rule("zone", "not in", ("a",)).holds({"zone": "b"}), Rule("zone", "exists").holds({})
            (True, False)
        """
        there = self.key in labels
        match self.operator:
            case "exists":
                return there
            case "does not exist":
                return not there
            case "in":
                return there and labels[self.key] in self.values
        return not there or labels[self.key] not in self.values

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.key} {'=' if self.operator == 'in' else '!='} {self.values[0]}"
        values = f" ({', '.join(self.values)})" if self.values else ""
        return f"{self.key} {self.operator}{values}"


def parse_labels(value: object) -> tuple[tuple[str, str], ...]:
    """A user's labels of a machine.

    Raises:
        TypeError: If they are no dict of strings.
        ValueError: For a key or value that is no label, or a reserved key.
    """
    for key, label in _strings("labels", value).items():
        _check_key("labels", key)
        if key == NODE_ID:
            raise ValueError(f"labels: {key!r} is the machine's id, which nobody can choose")
        if label and not re.fullmatch(_NAME, label):
            raise ValueError(f"labels[{key!r}]={label!r} is no label; {_SYNTAX}")
    return tuple(_strings("labels", value).items())


def parse_selector(option: str, value: object) -> tuple[Rule, ...]:
    """Rules from a dict of labels to "value", "!value", "in(a, b)" or "!in(a, b)".

    Raises:
        TypeError: If it is no dict of strings.
        ValueError: For what is no label or no such rule.

    Example:
        >>> [str(rule) for rule in parse_selector("label_selector", {"zone": "!in(a, b)"})]
        ['zone not in (a, b)']
    """
    return tuple(_rule(option, key, text) for key, text in _strings(option, value).items())


def _rule(option: str, key: str, text: str) -> Rule:
    _check_key(option, key)
    found = _SELECTION.fullmatch(text)
    if found is None:
        raise ValueError(
            f'{option}[{key!r}]={text!r} must be "value", "!value", "in(a, b)" or "!in(a, b)"; {_SYNTAX}'
        )
    several = found.group(2)
    values = tuple(several.replace(" ", "").split(",")) if several else (text.removeprefix("!"),)
    return Rule(key, "not in" if found.group(1) else "in", values)


def unmet(labels: Mapping[str, str], rules: Iterable[Rule]) -> list[Rule]:
    """The rules that a machine with these labels breaks.

    Example:
        >>> [str(rule) for rule in unmet({"zone": "a"}, parse_selector("x", {"zone": "b"}))]
        ['zone = b']
    """
    return [rule for rule in rules if not rule.holds(labels)]


_SYNTAX = (
    "a label has at most 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or "
    "digit"
)


def _check_key(option: str, key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if not re.fullmatch(_NAME, name) or (slash and not re.fullmatch(_PREFIX, prefix)):
        raise ValueError(
            f"{option}: {key!r} is no key of a label; {_SYNTAX}, after an optional prefix/"
        )


def _strings(option: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) for pair in value.items() for text in pair
    ):
        raise TypeError(f"{option} must be a dict of strings to strings, got {value!r}")
    return dict(value)
