"""Tables as HTML."""

from heliostat.util._html import WIDEST, block, table


def test_what_is_in_cells_is_text_and_never_a_tag():
    page = table([["<script>"], ['<img src="x" onerror="y">'], ["a & b"]])
    assert page.count("<") == 12 + 2  # of the table itself
    assert "&lt;script&gt;" in page
    assert "a &amp; b" in page
    assert block("<b>\n x") == "<pre>&lt;b&gt;\n x</pre>"


def test_long_texts_are_cut():
    assert len(table([["a"], ["b" * 1000]])) < WIDEST + 100
