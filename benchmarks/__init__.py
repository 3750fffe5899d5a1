"""Benchmarks: one question per file, answered as ratios to a baseline measured in the same run.

`make bench` runs them all. Machines differ and are shared, so read ratios, not single times.
"""
