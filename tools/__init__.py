"""Checks of this repository that no ready-made tool does: size, parity of names, hops per call."""
