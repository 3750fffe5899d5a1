"""Rows in another order: sorted or shuffled, in memory or on disk."""
