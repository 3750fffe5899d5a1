"""Predicates of Arrow's over the columns of a source."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from heliostat.data.datasource.parquet import open_parquet
from heliostat.data.datasource.parquet_filter import Predicate

SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.string())])


def test_predicates_are_equal_if_they_say_the_same():
    many = [pc.field("a").isin([*range(50), n, *range(60, 99)]) for n in (51, 51, 52)]
    first, same, other = (Predicate.of(one, SCHEMA) for one in many)
    assert first == same
    assert hash(first) == hash(same)
    assert first != other


def test_sources_with_different_predicates_are_different(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [1, 2]}), path)
    one, other, same = (open_parquet(path, predicate=pc.field("a") == n) for n in (1, 2, 1))
    assert one != other
    assert one == same


@pytest.mark.parametrize("wrong", [pc.field("c") == 1, pc.field("a") == "x", pc.field("a") + 1])
def test_a_predicate_that_does_not_fit_the_columns_is_refused(wrong):
    with pytest.raises(ValueError, match=r"read_parquet\(filter="):
        Predicate.of(wrong, SCHEMA)


def test_a_file_fits_that_has_the_same_types_as_far_as_it_goes(tmp_path):
    predicate = Predicate.of(pc.field("b").is_null(), SCHEMA)
    assert predicate.fits(SCHEMA.remove(1))
    assert not predicate.fits(pa.schema([("a", pa.int32())]))
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [1, 2]}), path)
    table = predicate.read(path, fs.LocalFileSystem(), [0], ["a"])
    assert table.to_pydict() == {"a": [1, 2]}
