"""Callbacks of training libraries that report to a trial; one file a library, which it needs."""
