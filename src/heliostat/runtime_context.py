"""Public home of get_runtime_context."""

from heliostat._core.context import RuntimeContext, get_runtime_context

__all__ = ["RuntimeContext", "get_runtime_context"]
