"""A folder that is first on Python's path in a job, so that `import ray` finds what is in it."""
