"""What a function takes, so that a call that does not fit is refused where it is made.

A picklable extract of `inspect.Signature`: handles to actors carry it to other processes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one function, without `self`."""

    positional: tuple[str, ...]  # in order; those before `by_name` cannot be named
    by_name: int
    required: int  # how many of them have no default
    more: bool  # *args
    named: tuple[str, ...]  # keyword-only
    named_required: tuple[str, ...]
    more_named: bool  # **kwargs

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise the TypeError that the call would raise.

        Raises:
            TypeError: In the words of `inspect.Signature.bind`.
        """
        given = len(args)
        enough = self.required <= given and (self.more or given <= len(self.positional))
        if enough and not kwargs and not self.named_required:
            return
        if given > len(self.positional) and not self.more:
            raise TypeError(
                f"too many positional arguments: {given}, but it takes {len(self.positional)}"
            )
        for name in self.positional[max(given, self.by_name) : self.required]:
            if name not in kwargs:
                raise TypeError(f"missing a required argument: {name!r}")
        if given < min(self.required, self.by_name):
            raise TypeError(f"missing a required argument: {self.positional[given]!r}")
        self._check_names(given, kwargs)

    def _check_names(self, given: int, kwargs: Mapping[str, Any]) -> None:
        for name in self.named_required:
            if name not in kwargs:
                raise TypeError(f"missing a required argument: {name!r}")
        nameable = self.positional[self.by_name :]
        for name in kwargs:
            if name in self.positional[self.by_name : given]:
                raise TypeError(f"multiple values for argument {name!r}")
            if name not in nameable and name not in self.named and not self.more_named:
                raise TypeError(f"got an unexpected keyword argument {name!r}")


def parameters_of(function: Callable[..., Any], *, skip: int = 0) -> Parameters | None:
    """What `function` takes after its first `skip` parameters; None if it cannot be told."""
    try:
        found = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):
        return None
    kinds = inspect.Parameter
    ordered = [p for p in found if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    named = [p for p in found if p.kind is kinds.KEYWORD_ONLY]
    return Parameters(
        positional=tuple(p.name for p in ordered),
        by_name=sum(p.kind is kinds.POSITIONAL_ONLY for p in ordered),
        required=sum(p.default is kinds.empty for p in ordered),
        more=any(p.kind is kinds.VAR_POSITIONAL for p in found),
        named=tuple(p.name for p in named),
        named_required=tuple(p.name for p in named if p.default is kinds.empty),
        more_named=any(p.kind is kinds.VAR_KEYWORD for p in found),
    )
