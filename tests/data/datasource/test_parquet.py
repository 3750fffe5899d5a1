"""Parquet: what is found, what is read, and which file an error names."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import heliostat as ray
from heliostat.data.datasource.parquet import open_parquet, resolve
from heliostat.data.expressions import col

pytestmark = pytest.mark.usefixtures("inline")


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return str(path)


def ids(paths, **options):
    return [row["id"] for row in ray.data.read_parquet(paths, **options).take_all()]


def test_a_file_a_list_a_directory_and_a_glob_mean_files_in_order(tmp_path):
    two = write(tmp_path / "b.parquet", id=[2])
    one = write(tmp_path / "a.parquet", id=[1])
    write(tmp_path / ".staged" / "x.parquet", id=[99])
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert ids(one) == [1]
    assert ids([two, one]) == [2, 1]
    assert ids(str(tmp_path)) == [1, 2]
    assert ids(str(tmp_path / "*.parquet")) == [1, 2]
    assert ids(f"file://{one}") == [1]


def test_a_missing_path_is_named():
    with pytest.raises(FileNotFoundError, match=r"/nowhere/x\.parquet"):
        ray.data.read_parquet("/nowhere/x.parquet")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        ray.data.read_parquet("/nowhere/*.parquet")


def test_missing_paths_can_be_left_out(tmp_path):
    one = write(tmp_path / "a.parquet", id=[1])
    assert ids([one, "/nowhere/x.parquet"], ignore_missing_paths=True) == [1]


def test_a_directory_without_parquet_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"no Parquet files in directory '{tmp_path}'"):
        ray.data.read_parquet(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1garbage" * 100])
def test_a_corrupt_file_is_named(tmp_path, content):
    write(tmp_path / "a.parquet", id=[1])
    (tmp_path / "bad.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read '.*bad\.parquet' as Parquet"):
        ray.data.read_parquet(str(tmp_path))


def test_a_file_that_breaks_after_its_footer_was_read_is_named(parquet):
    ds = ray.data.read_parquet(parquet)
    size = os.path.getsize(parquet)
    with open(parquet, "r+b") as file:
        file.write(b"\xff" * (size // 2))
    with pytest.raises((ValueError, OSError), match=parquet):
        ds.to_pandas()


def test_an_unknown_column_lists_those_there_are(parquet):
    with pytest.raises(KeyError, match=r"'nope'.*\['id', 'fare', 'paid', 'zone'\]"):
        ray.data.read_parquet(parquet, columns=["nope"])


def test_only_the_asked_columns_are_read_in_the_asked_order(parquet):
    assert ray.data.read_parquet(parquet, columns=["zone", "id"]).columns() == ["zone", "id"]


def test_files_that_differ_get_one_schema(tmp_path):
    write(tmp_path / "a.parquet", id=[1], x=[1])
    write(tmp_path / "b.parquet", id=[2], x=[0.5], y=["new"])
    ds = ray.data.read_parquet(str(tmp_path))
    assert ds.take_all() == [{"id": 1, "x": 1.0, "y": None}, {"id": 2, "x": 0.5, "y": "new"}]


def test_files_that_do_not_fit_together_are_named(tmp_path):
    write(tmp_path / "a.parquet", id=[1])
    write(tmp_path / "b.parquet", id=["x"])
    with pytest.raises(ValueError, match=r"b\.parquet' do not fit"):
        ray.data.read_parquet(str(tmp_path))


def test_directories_with_values_become_columns(tmp_path):
    write(tmp_path / "year=2020" / "a.parquet", id=[1])
    write(tmp_path / "year=2021" / "a.parquet", id=[2])
    ds = ray.data.read_parquet(str(tmp_path), include_paths=True)
    rows = ds.take_all()
    assert [(row["id"], row["year"]) for row in rows] == [(1, "2020"), (2, "2021")]
    assert rows[0]["path"].endswith("year=2020/a.parquet")
    assert ds.select_columns("year").take_all() == [{"year": "2020"}, {"year": "2021"}]


def test_tasks_are_row_groups_up_to_a_size(parquet):
    source = open_parquet(parquet)
    assert [task.rows for task in source.read_tasks(1 << 30)] == [100]
    assert [task.rows for task in source.read_tasks(1)] == [20] * 5
    assert len(open_parquet(parquet, min_tasks=3).read_tasks(1 << 30)) >= 3
    assert sum(task.size_bytes for task in source.read_tasks(1)) > 0


def test_reads_run_in_tasks_of_their_own_if_the_user_says_how(parquet, capsys):
    ds = ray.data.read_parquet(parquet, override_num_blocks=5, concurrency=2, num_cpus=0.5)
    kept = ds.map(lambda row: row).materialize()
    assert kept.count() == 100
    first, second, _ = kept.stats().splitlines()
    assert "ReadParquet: 5 tasks in workers" in first
    assert "Map(<lambda>)" in second
    with pytest.raises(ValueError, match="concurrency"):
        ray.data.read_parquet(parquet, concurrency=0)
    with pytest.raises(ValueError, match="num_cpus"):
        ray.data.read_parquet(parquet, num_cpus=-1)


def test_a_limit_reads_only_the_rows_it_needs(parquet, trips):
    tasks = open_parquet(parquet).head(30).read_tasks(1)
    tables = [table for task in tasks for table in task.read()]
    assert [table.num_rows for table in tables] == [20, 10]
    assert pa.concat_tables(tables).equals(trips.slice(0, 30))


def test_a_file_without_rows_has_columns(tmp_path):
    write(tmp_path / "a.parquet", id=pa.array([], pa.int64()))
    ds = ray.data.read_parquet(str(tmp_path))
    assert (ds.count(), ds.columns(), ds.take_all()) == (0, ["id"], [])
    assert list(ds.to_pandas().columns) == ["id"]


BUCKET = """
import http.server, sys, threading

content = open(sys.argv[1], "rb").read()


class Bucket(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(b"")

    def do_GET(self):
        self.answer(content)

    def answer(self, body):
        assert "Authorization" not in self.headers
        if not self.path.startswith("/bucket/trips.parquet"):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end = 0, len(content) - 1
        if "Range" in self.headers:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last or end), end)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(body[start : end + 1])

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
threading.Thread(target=server.serve_forever, daemon=True).start()

import heliostat as ray

ray.init(engine="inline")
where = f"?scheme=http&endpoint_override=127.0.0.1:{server.server_port}"
ds = ray.data.read_parquet("s3://anonymous@bucket/trips.parquet" + where, columns=["id"])
print(ds.count(), sum(ds.to_pandas()["id"]), ds.take(1))
try:
    ray.data.read_parquet("s3://anonymous@bucket/nothing.parquet" + where)
except FileNotFoundError as error:
    print(error)
"""


def test_a_public_bucket_is_read_without_credentials(parquet):
    # In a process of its own: the S3 client of Arrow keeps descriptors for as long as it lives.
    done = subprocess.run(
        [sys.executable, "-c", BUCKET, parquet], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "100 4950 [{'id': 0}]"
    assert "bucket/nothing.parquet" in second


ANONYMOUS = """
from heliostat.data.datasource.paths import resolve

uri = "s3://anonymous@bucket/some/key.parquet"
found, path = resolve(uri + "?endpoint_override=localhost:1&scheme=http", None)
print(found.type_name, path)
try:
    resolve(uri + "?zz=1", None)
except ValueError as error:
    print(error)
"""


def test_an_anonymous_bucket_needs_no_credentials():
    done = subprocess.run([sys.executable, "-c", ANONYMOUS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("s3 bucket/some/key.parquet\n")
    assert "unknown ['zz']" in done.stdout


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match="zz://a/b"):
        resolve("zz://a/b", None)


@pytest.mark.parametrize("kept", [pc.field("id") >= 45, col("id") >= 45, "id >= 45"])
def test_a_filter_keeps_rows_whatever_says_it(parquet, kept):
    ds = ray.data.read_parquet(parquet, filter=kept, columns=["id"])
    assert [row["id"] for row in ds.take_all()] == list(range(45, 100))
    assert ds.count() == 55
    assert ds.limit(2).take_all() == [{"id": 45}, {"id": 46}]


def test_a_filter_of_arrows_may_ask_for_other_columns_than_are_read(parquet):
    ds = ray.data.read_parquet(parquet, filter=pc.field("zone") == "zone 3", columns=["id"])
    assert [row["id"] for row in ds.take_all()] == list(range(3, 100, 7))


def test_a_filter_of_arrows_may_ask_for_what_the_path_tells(tmp_path):
    ray.data.from_items([{"a": n, "b": n % 2} for n in range(4)]).write_parquet(
        str(tmp_path / "t"), partition_cols=["b"]
    )
    kept = pc.field("b") == "1"
    ds = ray.data.read_parquet(str(tmp_path / "t"), filter=kept)
    assert [row["a"] for row in ds.take_all()] == [1, 3]


def test_a_schema_says_which_columns_are_read_and_of_which_types(parquet):
    schema = pa.schema([("id", pa.float32()), ("more", pa.string())])
    ds = ray.data.read_parquet(parquet, schema=schema)
    assert ds.schema().base_schema == schema
    assert ds.take(1) == [{"id": 0.0, "more": None}]


def test_bytes_become_tensors_where_the_schema_of_tensors_says_so(tmp_path):
    arrays = np.arange(12, dtype=np.int16).reshape(3, 2, 2)
    table = pa.table({"a": [one.tobytes() for one in arrays], "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    path = str(tmp_path / "a.parquet")
    ds = ray.data.read_parquet(path, tensor_column_schema={"a": (np.int16, (2, 2))})
    batch = ds.take_batch(3)
    assert batch["a"].dtype == np.int16
    assert (batch["a"] == arrays).all()
    with pytest.raises(ValueError, match="the bytes of column 'a' are no int16 of shape"):
        ray.data.read_parquet(path, tensor_column_schema={"a": (np.int16, (5,))}).take(1)
    with pytest.raises(ValueError, match="column 'n' is int64, not bytes"):
        ray.data.read_parquet(path, tensor_column_schema={"n": (np.int16, (5,))})


NUMBERS = {"a": [1, 2, 3], "b": [10, 20, 30]}


@pytest.fixture
def uneven(tmp_path):
    """Three files: one lacks a column, one has another type for it."""
    folder = tmp_path / "uneven"
    folder.mkdir()
    pq.write_table(pa.table(NUMBERS), folder / "0.parquet")
    pq.write_table(pa.table({"a": [4]}), folder / "1.parquet")
    pq.write_table(pa.table({"a": [5], "b": [20.5]}), folder / "2.parquet")
    return str(folder)


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        (pc.field("b") > 15, [2, 3, 5]),
        (pc.field("b") == 20.5, [5]),
        (pc.field("b").is_null(), [4]),
        (pc.field("a") > 3, [4, 5]),
    ],
)
def test_a_filter_sees_the_columns_of_the_whole_in_each_file(uneven, kept, found):
    ds = ray.data.read_parquet(uneven, filter=kept, columns=["a"])
    assert [row["a"] for row in ds.take_all()] == found


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_filter_that_makes_no_sense_is_no_fault_of_a_file(uneven, on_error):
    with pytest.raises(ValueError, match=r"read_parquet\(filter=.*zz.*No match"):
        ray.data.read_parquet(uneven, filter=pc.field("zz") == 1, on_error=on_error)


def test_a_filter_sees_the_types_that_were_asked_for(tmp_path):
    path = str(tmp_path / "a.parquet")
    pq.write_table(pa.table(NUMBERS), path)
    schema = pa.schema([("b", pa.string())])
    ds = ray.data.read_parquet(path, schema=schema, filter=pc.field("b") == "20")
    assert ds.take_all() == [{"b": "20"}]


def test_what_paths_tell_has_the_type_that_was_asked_for(tmp_path):
    for k in (1, 2):
        (tmp_path / f"k={k}").mkdir()
        pq.write_table(pa.table({"a": [k]}), tmp_path / f"k={k}" / "x.parquet")
    schema = pa.schema([("a", pa.int64()), ("k", pa.int32())])
    ds = ray.data.read_parquet(str(tmp_path), schema=schema)
    assert ds.take_all() == [{"a": 1, "k": 1}, {"a": 2, "k": 2}]
    kept = ray.data.read_parquet(str(tmp_path), schema=schema, filter=pc.field("k") == 2)
    assert kept.take_all() == [{"a": 2, "k": 2}]


def test_our_expression_may_ask_for_a_column_that_is_not_kept(uneven):
    ds = ray.data.read_parquet(uneven, filter=col("b") > 15, columns=["a"], include_paths=True)
    assert [row["a"] for row in ds.take_all()] == [2, 3, 5]
    assert ds.columns() == ["a", "path"]


def test_what_is_in_lists_and_structs_is_written_by_number_too(tmp_path):
    texts = ["a text that occurs again and again"] * 5000
    table = pa.table(
        {"l": [[one] for one in texts], "s": [{"x": one} for one in texts], "n": range(5000)}
    )
    ray.data.from_arrow(table).write_parquet(str(tmp_path / "out"))
    (file,) = (tmp_path / "out").iterdir()
    group = pq.ParquetFile(file).metadata.row_group(0)
    sizes = {c.path_in_schema: c.total_uncompressed_size for c in map(group.column, range(3))}
    assert max(sizes["l.list.element"], sizes["s.x"]) < 10_000


def test_columns_of_few_texts_are_known_by_their_footers(tmp_path):
    rows = 5000
    table = pa.table(
        {
            "few": ["north", "south", None, ""] * (rows // 4),
            "all": [f"trip {n}" for n in range(rows)],
            "n": range(rows),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000)
    [file] = open_parquet(tmp_path).files
    assert file.few_texts == ("few",)
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False)
    assert open_parquet(tmp_path).files[0].few_texts == ()
    nested = pa.table({"s": [{"a": 1, "b": 2}] * rows, "few": ["x"] * rows})
    pq.write_table(nested, tmp_path / "a.parquet")
    assert open_parquet(tmp_path).files[0].few_texts == ()


@pytest.mark.parametrize("known", [True, False])
def test_columns_that_cannot_name_directories_are_refused(tmp_path, known):
    out = str(tmp_path / "out")
    table = pa.table({"k": [b"x"], "l": [[1]], "n": ["__HIVE_DEFAULT_PARTITION__"], "v": [1]})
    ds = ray.data.from_arrow(table)
    if not known:
        ds = ds.map_batches(lambda batch: batch, batch_format="pyarrow")
    for name, why in (
        ("k", "binary has no text"),
        ("l", "list<.*has no text"),
        ("n", "stands for null"),
    ):
        with pytest.raises(ValueError, match=why):
            ds.write_parquet(out, partition_cols=[name])
    with pytest.raises(ValueError, match="must leave a column to write"):
        ds.select_columns(["v"]).write_parquet(out, partition_cols=["v", "v"])
    assert not os.listdir(tmp_path)


def test_columns_of_dictionaries_name_directories(tmp_path):
    texts = pa.array(["a", None, "a"]).dictionary_encode()
    ds = ray.data.from_arrow(pa.table({"k": texts, "v": [1, 2, 3]}))
    ds.write_parquet(str(tmp_path), partition_cols=["k", "k"])
    rows = ray.data.read_parquet(str(tmp_path)).sort("v").take_all()
    assert [(row["k"], row["v"]) for row in rows] == [("a", 1), (None, 2), ("a", 3)]


def test_an_argument_that_no_writer_knows_is_refused_before_anything_runs(tmp_path):
    ds = ray.data.range(3).map(lambda row: {"id": 1 / 0})
    with pytest.raises(TypeError, match=r"write_parquet\(\) got an unexpected argument 'nonsense'"):
        ds.write_parquet(str(tmp_path / "out"), nonsense=1)
