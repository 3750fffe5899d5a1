"""Each message on the page about errors is one that the code has."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([^`]+)` \| (\S.*) \|$", re.MULTILINE)


def test_every_message_is_in_the_code_and_has_advice():
    rows = ROW.findall((ROOT / "docs/troubleshooting.md").read_text())
    code = "\n".join(path.read_text() for path in (ROOT / "src/heliostat").rglob("*.py"))
    assert len(rows) > 40
    assert [message for message, _ in rows if message not in code] == []
    assert [message for message, advice in rows if len(advice) < 20] == []
