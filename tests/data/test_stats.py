"""What is told about an execution."""

from heliostat.data._stats import StageStats, Stats


def test_every_stage_is_a_line_and_the_last_says_the_whole():
    stages = [
        StageStats("Read", "in place", tasks=2, rows_out=10, bytes_out=2048, busy_s=0.25),
        StageStats("Map(f)", "in workers", tasks=4, retries=1, rows_out=1000, bytes_out=3 << 20),
    ]
    assert str(Stats(stages, 0.5)).splitlines() == [
        "Stage 0 Read: 2 tasks in place, 10 rows, 2.0 KiB, busy 0.250 s",
        "Stage 1 Map(f): 4 tasks in workers, 1,000 rows, 3.0 MiB, busy 0.000 s, 1 retries",
        "Total: 1,000 rows in 0.500 s (2,000 rows/s)",
    ]
    assert str(Stats()) == "Nothing was run: the rows are there already."
