"""What a Ray cluster is excused from is a test of the shared suite, and a line of the page for users."""

from pathlib import Path

from heliostat.testing.suite import EngineTests
from tests.ray.excuses import EXCUSES

PAGE = Path(__file__).parents[2] / "docs" / "scale_out.md"


def test_every_excuse_is_for_a_test_that_exists():
    excused = [name for names in EXCUSES.values() for name in names]
    assert [name for name in excused if not hasattr(EngineTests, name)] == []
    assert len(excused) == len(set(excused))


def test_every_reason_is_a_line_of_the_table_that_users_read():
    (_, table) = PAGE.read_text().split("| on a cluster | because |\n")
    said = {line.split(" | ")[0].removeprefix("| ") for line in table.split("\n\n")[0].splitlines()}
    assert [reason for reason in EXCUSES if reason not in said] == []
