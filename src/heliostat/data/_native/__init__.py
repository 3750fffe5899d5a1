"""Relational work as one query: what DuckDB runs in the driver, in threads and beyond memory.

`relation` is the value that queries are built of (SQL and a schema), `expression` writes expressions
as SQL, `queries` has a class for each relational verb, `scan` reads files by DuckDB itself, `engine`
runs a plan's native part and streams its rows.
"""
