"""What our docstrings call an example is code on the site."""

import pytest

griffe = pytest.importorskip("griffe")

SOURCE = '''
def put(value: int):
    """Keep a value.

    Args:
        value: What to keep.

    Example:
        It comes back:

        >>> get(put(3))
        3
    """
'''


def test_an_example_is_text_and_code(tmp_path):
    from tools.docs_examples import DocsExamples

    extensions = griffe.load_extensions(DocsExamples)
    (tmp_path / "kept.py").write_text(SOURCE)
    module = griffe.load("kept", search_paths=[tmp_path], extensions=extensions)
    sections = module["put"].docstring.parse("google")
    examples = next(one for one in sections if one.kind.value == "examples")
    assert [kind.value for kind, _ in examples.value] == ["text", "examples"]


def test_the_map_of_a_module_s_files_is_for_those_who_change_it(tmp_path):
    from tools.docs_examples import DocsExamples

    extensions = griffe.load_extensions(DocsExamples)
    (tmp_path / "mapped.py").write_text(
        '"""Keeps values.\n\nThe map: `kept.py` keeps, `_lost` loses.\n\nNothing is thrown away.\n"""\n'
    )
    module = griffe.load("mapped", search_paths=[tmp_path], extensions=extensions)
    assert module.docstring.value == "Keeps values.\n\nNothing is thrown away."
