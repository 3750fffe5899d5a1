"""Types for annotations."""

from heliostat._core.refs import ObjectRef

__all__ = ["ObjectRef"]
