"""Values out of line: in shared memory, and on disk behind it."""
