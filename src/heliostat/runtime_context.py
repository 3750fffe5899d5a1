"""Public home of get_runtime_context, and of the session's records."""

from heliostat._core.context import RuntimeContext, get_runtime_context, records

__all__ = ["RuntimeContext", "get_runtime_context", "records"]
