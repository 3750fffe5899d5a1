"""Zygotes, workers and what they are born into: environments, limits, the machine."""
