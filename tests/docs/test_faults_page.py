"""Every test that the page about faults names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(\w+\.py)::(test_\w+)`")


def test_every_fault_has_tests_and_every_named_test_exists():
    rows = [line for line in (ROOT / "docs/faults.md").read_text().splitlines() if "| " in line]
    assert [row for row in rows[2:] if not NAMED.search(row)] == []
    there = {
        (path.name, name)
        for folder in ("tests", "src/heliostat/testing")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    named = {found for row in rows for found in NAMED.findall(row)}
    assert len(named) > 60
    assert named - there == set()
