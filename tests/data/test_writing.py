"""The verbs that write, and how they share the rows out."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heliostat as ray
from heliostat.data.datasource import FilenameProvider

pytestmark = pytest.mark.usefixtures("inline")


def files(path):
    return sorted(os.listdir(path))


def test_rows_come_back_in_order(tmp_path, trips):
    ds = ray.data.from_arrow([trips.slice(0, 30), trips.slice(30, 50), trips.slice(80)])
    for write, read in (
        ("write_parquet", ray.data.read_parquet),
        ("write_csv", ray.data.read_csv),
        ("write_json", ray.data.read_json),
    ):
        path = str(tmp_path / write)
        getattr(ds, write)(path)
        assert len(files(path)) == 3
        back = read(path).to_pandas()
        pd.testing.assert_frame_equal(back, trips.to_pandas(), rtol=1e-9)


def test_files_have_the_rows_that_were_asked_for(tmp_path):
    ds = ray.data.range(10, override_num_blocks=5)

    def rows(name, **options):
        ds.write_parquet(str(tmp_path / name), **options)
        path = tmp_path / name
        return [pq.read_metadata(path / file).num_rows for file in files(path)]

    assert rows("a") == [2, 2, 2, 2, 2]
    assert rows("b", min_rows_per_file=4) == [4, 4, 2]
    assert rows("c", num_rows_per_file=10) == [10]
    assert rows("d", max_rows_per_file=1) == [1] * 10
    assert rows("e", min_bytes_per_file=40) == [6, 4]
    with pytest.raises(ValueError, match="min_rows_per_file=5 is above"):
        rows("f", min_rows_per_file=5, max_rows_per_file=4)
    with pytest.raises(ValueError, match="min_rows_per_file must be an int >= 1"):
        rows("g", min_rows_per_file=-1)


def test_no_rows_are_a_file_that_tells_their_columns(tmp_path):
    table = pa.table({"a": pa.array([], pa.int64()), "s": pa.array([], pa.string())})
    path = str(tmp_path / "parquet")
    for ds in (
        ray.data.from_arrow(table),
        ray.data.from_arrow(pa.table({"a": [1], "s": ["x"]})).filter(lambda row: False),
    ):
        for _ in range(2):  # beside what is there, nothing is added
            ds.write_parquet(path)
        ds.write_parquet(path, mode="overwrite")
        assert len(files(path)) == 1
        assert ray.data.read_parquet(path).schema().base_schema == table.schema
        assert ray.data.read_parquet(path).take_all() == []
    ray.data.from_arrow(table).write_csv(str(tmp_path / "csv"))
    back = ray.data.read_csv(str(tmp_path / "csv"))
    assert (back.columns(), back.count()) == (["a", "s"], 0)
    ray.data.from_arrow(table).write_parquet(str(tmp_path / "parts"), partition_cols=["s"])
    ray.data.from_arrow(table).write_json(str(tmp_path / "json"))
    ray.data.from_items([]).write_parquet(str(tmp_path / "unknown"))
    assert [files(tmp_path / name) for name in ("parts", "json", "unknown")] == [[], [], []]


def test_partitions_are_directories_and_come_back(tmp_path):
    frame = pd.DataFrame(
        {
            "id": range(6),
            "year": [2023, 2024, 2023, 2024, 2023, 2024],
            "zone": ["a/b", "a/b", "c", "c", None, "c"],
        }
    )
    ds = ray.data.from_pandas(frame)
    path = str(tmp_path / "out")
    ds.write_parquet(path, partition_cols=["year", "zone"])
    assert files(path) == ["year=2023", "year=2024"]
    assert files(f"{path}/year=2023") == ["zone=__HIVE_DEFAULT_PARTITION__", "zone=a%2Fb", "zone=c"]
    back = ray.data.read_parquet(path).to_pandas().sort_values("id")
    assert back["id"].tolist() == list(range(6))
    assert back["year"].tolist() == [str(year) for year in frame["year"]]
    assert back["zone"].isna().tolist() == [False] * 4 + [True, False]
    with pytest.raises(KeyError, match="nope"):
        ds.write_parquet(path, partition_cols=["nope"])
    with pytest.raises(ValueError, match="leave a column"):
        ds.select_columns(["year"]).write_parquet(path, partition_cols=["year"])


@pytest.mark.parametrize("mode", ["append", "overwrite", "ignore", "error", "create"])
def test_modes(tmp_path, mode):
    path = str(tmp_path / "out")
    ray.data.range(3).write_parquet(path)
    second = ray.data.range(2)
    if mode in ("error", "create"):
        with pytest.raises(FileExistsError, match="mode='append'"):
            second.write_parquet(path, mode=mode)
    else:
        second.write_parquet(path, mode=mode)
    rows = {"append": 5, "overwrite": 2}.get(mode, 3)
    assert ray.data.read_parquet(path).count() == rows
    assert files(tmp_path) == ["out"]


def test_nothing_is_run_if_nothing_is_to_be_written(tmp_path):
    def fail(row):
        raise AssertionError

    path = str(tmp_path / "out")
    ray.data.range(3).write_csv(path)
    ray.data.range(3).map(fail).write_csv(path, mode="ignore")


def test_a_failing_function_leaves_nothing(tmp_path):
    def fail(row):
        if row["id"] == 90:
            raise ValueError("ninety")
        return row

    ds = ray.data.range(100, override_num_blocks=10).map(fail)
    with pytest.raises(ValueError, match="ninety"):
        ds.write_parquet(str(tmp_path / "out"))
    assert files(tmp_path) == []


def test_arrays_and_pictures_come_back(tmp_path):
    pytest.importorskip("PIL")
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    ds = ray.data.from_numpy(pixels)
    ds.write_numpy(str(tmp_path / "a"), column="data")
    back = ray.data.read_numpy(str(tmp_path / "a")).take_all()
    assert np.array_equal([row["data"] for row in back], pixels)
    ds.write_images(str(tmp_path / "b"), "data")
    back = ray.data.read_images(str(tmp_path / "b")).take_all()
    assert np.array_equal([row["image"] for row in back], pixels)
    with pytest.raises(KeyError, match="nope"):
        ds.write_images(str(tmp_path / "c"), "nope")
    with pytest.raises(ValueError, match="zz"):
        ds.write_images(str(tmp_path / "c"), "data", "zz")
    with pytest.raises(ValueError, match="an array"):
        ray.data.from_items(["x"]).write_numpy(str(tmp_path / "c"), column="item")
    assert files(tmp_path) == ["a", "b"]


def test_json_keeps_whole_numbers_and_nested_values(tmp_path):
    rows = [{"a": 1, "b": [1, 2], "c": {"d": "x"}}, {"a": None, "b": [], "c": None}]
    ray.data.from_items(rows).write_json(str(tmp_path / "out"))
    (name,) = files(tmp_path / "out")
    first, second = (tmp_path / "out" / name).read_text().splitlines()
    assert first == '{"a":1,"b":[1,2],"c":{"d":"x"}}'
    assert second == '{"a":null,"b":[],"c":null}'
    ray.data.from_items(rows).write_json(str(tmp_path / "t"), orient="split")
    large = pa.table({"a": pa.array([2**64 - 1, None], pa.uint64())})
    ray.data.from_arrow(large).write_json(str(tmp_path / "large"))
    (name,) = files(tmp_path / "large")
    assert (tmp_path / "large" / name).read_text().startswith('{"a":18446744073709551615}')


def test_what_csv_cannot_hold_is_named(tmp_path):
    with pytest.raises(ValueError, match="column 'a' of type list"):
        ray.data.from_items([{"a": [1]}]).write_csv(str(tmp_path / "out"))
    assert files(tmp_path) == []


@pytest.mark.parametrize("verb", ["write_csv", "write_json", "write_orc"])
def test_an_argument_that_no_writer_knows_is_refused_before_anything_runs(tmp_path, verb):
    ds = ray.data.range(3).map(lambda row: {"id": 1 / 0})
    with pytest.raises(TypeError, match=rf"{verb}.*'partition_cols'.*write_parquet makes"):
        getattr(ds, verb)(str(tmp_path / "out"), partition_cols=["id"])
    assert not (tmp_path / "out").exists()


def test_files_are_named_as_the_user_likes(tmp_path):
    class Names(FilenameProvider):
        def get_filename_for_block(self, block, write_uuid, task_index, block_index):
            return f"part-{task_index}.parquet"

    class Same(FilenameProvider):
        def get_filename_for_task(self, write_uuid, task_index):
            return "same.parquet"

    class Outside(FilenameProvider):
        def get_filename_for_task(self, write_uuid, task_index):
            return "../../outside.parquet"

    ds = ray.data.range(4, override_num_blocks=2)
    ds.write_parquet(str(tmp_path / "out"), filename_provider=Names())
    ds.write_parquet(str(tmp_path / "out"), filename_provider=Names())
    assert files(tmp_path / "out") == ["part-0.parquet", "part-1.parquet"]
    with pytest.raises(ValueError, match=r"'same\.parquet' to two files"):
        ds.write_parquet(str(tmp_path / "same"), filename_provider=Same())
    with pytest.raises(ValueError, match="no name for a file"):
        ds.write_parquet(str(tmp_path / "same"), filename_provider=Outside())
    assert files(tmp_path) == ["out"]


def test_arguments_of_arrow_are_passed_on_and_unknown_ones_refused(tmp_path):
    path = str(tmp_path / "out")
    ray.data.range(3, override_num_blocks=1).write_parquet(
        path, compression="zstd", arrow_parquet_args_fn=lambda: {"row_group_size": 1}
    )
    metadata = pq.read_metadata(f"{path}/{files(path)[0]}")
    assert (metadata.num_row_groups, metadata.row_group(0).column(0).compression) == (3, "ZSTD")
    with pytest.raises(TypeError, match="zz"):
        ray.data.range(3).write_parquet(path, zz=1)
    with pytest.raises(TypeError, match="zz"):
        ray.data.range(3).write_numpy(path, column="id", zz=1)
    with pytest.raises(TypeError, match=r"takes a heliostat\.data\.Catalog"):
        ray.data.range(3).write_parquet(path, catalog=object())
    with pytest.raises(NotADirectoryError, match="is a file"):
        ray.data.range(3).write_parquet(f"{path}/{files(path)[0]}")


def test_tables_of_every_type_come_back_from_parquet(tmp_path):
    table = pa.table(
        {
            "t": pa.array([1, None], pa.timestamp("us", "Europe/Berlin")),
            "d": pa.array(["1.50", None], pa.string()).cast(pa.decimal128(5, 2)),
            "l": [[1], None],
            "s": [{"a": 1}, None],
            "x": pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 2, 2))),
        }
    )
    ray.data.from_arrow(table).write_parquet(str(tmp_path / "out"))
    back = ray.data.read_parquet(str(tmp_path / "out")).take_batch(batch_format="pyarrow")
    assert back.equals(table)


def test_packed_files_have_names_that_readers_unpack(tmp_path):
    ds = ray.data.from_items([{"a": 1}, {"a": 2}])
    packed = {"arrow_open_stream_args": {"compression": "gzip"}}
    for kind in ("csv", "json", "tfrecords"):
        path = str(tmp_path / kind)
        getattr(ds, f"write_{kind}")(path, **packed)
        assert all(name.endswith(f".{kind}.gz") for name in files(path))
        assert getattr(ray.data, f"read_{kind}")(path).take_all() == ds.take_all()
    for kind in ("parquet", "orc"):
        with pytest.raises(ValueError, match=rf"use write_{kind}\(compression='gzip'\)"):
            getattr(ds, f"write_{kind}")(str(tmp_path / kind), **packed)


def test_files_without_rows_cannot_be_asked_for(tmp_path):
    for name in ("min_rows_per_file", "max_rows_per_file", "min_bytes_per_file"):
        with pytest.raises(ValueError, match=f"{name} must be an int >= 1, got 0"):
            ray.data.range(3).write_parquet(str(tmp_path), **{name: 0})


def test_what_is_read_over_http_is_not_written():
    with pytest.raises(
        NotImplementedError, match="'http://localhost/out': over HTTP files are read"
    ):
        ray.data.range(3).write_csv("http://localhost/out")
