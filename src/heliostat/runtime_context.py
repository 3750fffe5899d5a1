"""Public home of get_runtime_context, of the session's records, and of what `util.metrics` writes to."""

from heliostat._core.context import RuntimeContext, get_runtime_context, preload, records
from heliostat._core.tally import Series
from heliostat._parts import Part

__all__ = ["Part", "RuntimeContext", "Series", "get_runtime_context", "preload", "records"]
