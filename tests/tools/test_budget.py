"""The sizes that tools/budget.py measures, and what it complains of."""

from pathlib import Path

from tools.budget import Limits, complaints, functions_of, home_of_tests, modules, table, untested

LIMITS = Limits(
    file_lines=10,
    facade_lines=20,
    facades=frozenset({"data/read_api.py"}),
    function_statements=2,
    package_lines={"data": 25},
    tested_elsewhere={},
)
DOES_SOMETHING = "def f(x):\n    y = x\n    return y\n"


def repository(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / "src/heliostat" / name.replace("__", "/").replace("-", "_")
        path = path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def said(root: Path, limits: Limits = LIMITS) -> list[str]:
    return complaints(modules(root), root, limits)


def test_a_docstring_is_no_statement_and_nested_ones_count():
    source = 'def f():\n    "Say."\n    if a:\n        b()\n    def g():\n        c()\n'
    assert [(f.name, f.statements) for f in functions_of(source)] == [("f", 4), ("g", 1)]


def test_a_file_over_its_lines_is_named_with_figure_and_bound(tmp_path):
    root = repository(tmp_path, util__big="x = 1\n" * 11)
    assert said(root) == ["src/heliostat/util/big.py: 11 lines, at most 10: does one idea own it?"]


def test_a_facade_may_be_longer(tmp_path):
    assert said(repository(tmp_path, data__read_api="x = 1\n" * 11)) == []


def test_a_long_function_is_named_with_its_line(tmp_path):
    root = repository(tmp_path, util__f="def f():\n    a()\n    b()\n    c()\n")
    assert said(root)[0] == "src/heliostat/util/f.py:1: f has 3 statements, at most 2"


def test_a_package_over_its_budget_is_named(tmp_path):
    files = {f"data__m{i}": "x = 1\n" * 9 for i in range(3)}
    assert said(repository(tmp_path, **files)) == [
        "src/heliostat/data: 27 lines in all, at most 25"
    ]


def test_private_parts_are_dropped_from_the_place_of_a_test():
    assert home_of_tests(Path("data/_pipeline.py")) == Path("tests/data/test_pipeline.py")
    assert home_of_tests(Path("_core/refs.py")) == Path("tests/core/test_refs.py")


def test_a_module_that_does_something_needs_tests(tmp_path):
    root = repository(tmp_path, util__queue=DOES_SOMETHING, util__names="x = 1\n")
    assert untested(modules(root), root) == [Path("util/queue.py")]
    (root / "tests/util").mkdir(parents=True)
    (root / "tests/util/test_queue.py").touch()
    assert untested(modules(root), root) == []


def test_tests_elsewhere_must_exist_and_be_needed(tmp_path):
    root = repository(tmp_path, util__queue=DOES_SOMETHING)
    elsewhere = {"util/q*": "tests/test_all.py", "util/gone.py": "tests"}
    limits = Limits(**{**vars(LIMITS), "tested_elsewhere": elsewhere})
    assert said(root, limits) == [
        "tool.budget.tested_elsewhere: util/gone.py needs no entry any more",
        "tool.budget.tested_elsewhere: util/q* -> tests/test_all.py: does not exist",
    ]


def test_the_table_has_a_row_per_package(tmp_path):
    root = repository(tmp_path, data__a="x = 1\n", top="x = 1\n")
    rows = table(modules(root), LIMITS).splitlines()
    assert [row.split()[:4] for row in rows[1:3]] == [
        ["data", "1", "1", "25"],
        ["rest", "1", "1", "-"],
    ]


def test_the_limits_of_this_repository_can_be_read():
    limits = Limits.read(Path(__file__).parents[2])
    assert limits.file_lines == 600
    assert limits.function_statements == 40
