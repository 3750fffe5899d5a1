"""What sinks by a library's writer have in common."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.data.datasource.writers import refuse_packing, write_columns


def test_the_column_that_cannot_be_written_is_named():
    table = pa.table({"a": [1], "b": pa.array([{}], pa.struct([]))})
    with pytest.raises(ValueError, match=r"column 'b' of type struct<> cannot be written: .*child"):
        write_columns(table, pa.BufferOutputStream(), pq.write_table)


def test_an_error_that_is_of_no_column_stays_what_it_is():
    def write(rows, file):
        if rows.num_columns > 1:
            raise pa.ArrowInvalid("together")

    with pytest.raises(pa.ArrowInvalid, match="together"):
        write_columns(pa.table({"a": [1], "b": [2]}), None, write)


def test_files_that_are_read_from_their_end_are_not_packed_whole():
    refuse_packing("write_orc", {"open_stream_args": {"compression": None}})
    with pytest.raises(ValueError, match=r"write_orc.compression='zstd'"):
        refuse_packing("write_orc", {"open_stream_args": {"compression": "zstd"}})
