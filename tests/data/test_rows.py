import pyarrow as pa
import pytest

from heliostat.data._rows import row_maker, values_of
from heliostat.data.block import iter_rows


@pytest.mark.parametrize("columns", [1, 3, 150])
def test_rows_have_their_columns_whatever_they_are_called(columns):
    names = ["a'b", 'c"d\\', "__import__('os')", *(f"n{number}" for number in range(columns))]
    table = pa.table([[number, None] for number in range(len(names))], names=names)
    first, second = iter_rows(table)
    assert first == {name: number for number, name in enumerate(names)}
    assert second == dict.fromkeys(names)
    assert list(iter_rows(pa.table({}))) == []


def test_values_are_pythons_own_with_null_where_there_is_none():
    assert values_of(pa.chunked_array([[1, 2]])) == [1, 2]
    assert values_of(pa.chunked_array([["a", None]])) == ["a", None]
    assert type(values_of(pa.chunked_array([[True]]))[0]) is bool


def test_a_function_for_columns_is_made_once():
    assert row_maker(("a",)) is row_maker(("a",))
