"""`RuntimeEnv` and `RuntimeEnvConfig`: what worker processes are born with; Ray's module of that name."""

from heliostat._core.runtime_env import RuntimeEnv, RuntimeEnvConfig

__all__ = ["RuntimeEnv", "RuntimeEnvConfig"]
