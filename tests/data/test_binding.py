"""DuckDB of this process."""

import pytest

from heliostat.data._native.binding import cursor, limit_memory

pytest.importorskip("duckdb")


def test_a_limit_holds_for_the_process_until_another_is_wanted():
    with cursor() as one, cursor() as other:
        for mebibytes in (300, 300, 400):
            limit_memory(one, mebibytes)
            [(said,)] = other.execute("SELECT current_setting('memory_limit')").fetchall()
            assert said == f"{mebibytes}.0 MiB"
