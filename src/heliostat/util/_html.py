"""Tables as HTML, for notebooks. Everything in them is text; it knows nothing of what they are about."""

import html
from collections.abc import Sequence

# Longer texts in a cell are cut.
WIDEST = 100


def table(rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells, the first of which are titles.

    Args:
        rows: The cells; shown as `str` has them.

    Returns:
        The table, with nothing in it that a browser would run.

    Example:
        >>> table([["a"], ["<b>"]])
        '<table><tr><th>a</th></tr><tr><td>&lt;b&gt;</td></tr></table>'
    """
    titles, *body = rows
    lines = [_row("th", titles), *(_row("td", row) for row in body)]
    return f"<table>{''.join(lines)}</table>"


def block(text: str) -> str:
    """Text whose lines stay as they are.

    Args:
        text: Any.

    Returns:
        The element.

    Example:
        >>> block("a < b")
        '<pre>a &lt; b</pre>'
    """
    return f"<pre>{html.escape(text)}</pre>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_cell(cell)}</{tag}>' for cell in cells)}</tr>"


def _cell(value: object) -> str:
    text = str(value)
    return html.escape(text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}...")
