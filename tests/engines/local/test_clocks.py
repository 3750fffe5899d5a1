"""Time is monotonic where something is decided: the clock on the wall may jump, and a machine sleep."""

import ast
from pathlib import Path

from heliostat._engines import local

FOLDER = Path(local.__file__).parent
# And scheduling, which imports no clock at all (see the contracts in pyproject.toml).
PURE = ("failures", "output/lines", "output/repeats", "processes/zygote_stops")
WALL = {"time.time", "time.localtime", "datetime.now", "datetime.utcnow"}


def calls(path: Path) -> set[str]:
    """The names of what a file calls, as it writes them."""
    tree = ast.parse(path.read_text())
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_what_decides_reads_no_clock() -> None:
    pure = [*(FOLDER / "scheduling").glob("*.py"), *(FOLDER / f"{name}.py" for name in PURE)]
    assert len(pure) > 20
    for path in pure:
        assert not {call for call in calls(path) if call.startswith("time.")}, path


def test_the_clock_on_the_wall_is_for_showing_only() -> None:
    # `Hub.records` turns monotonic times into dates for people, and `records` writes them out;
    # `venvs` compares dates of files.
    found = {path.name for path in FOLDER.rglob("*.py") if calls(path) & WALL}
    assert found == {"hub.py", "records.py", "venvs.py"}
