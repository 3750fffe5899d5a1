"""Writes that go on where a killed run stopped."""

import os
import shutil
import subprocess
import sys
import tempfile

import pyarrow.compute as pc
import pytest

import heliostat as ray
from heliostat.data import _resume
from heliostat.data._commit import Staging
from heliostat.data.datasource import FilenameProvider, parquet_footer
from heliostat.data.datasource.parquet import open_parquet

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def source(tmp_path):
    path = str(tmp_path / "in")
    ray.data.range(100, override_num_blocks=10).write_parquet(path)
    return path


class Once:
    """Fails at one row, until it is told not to; says which rows it saw."""

    def __init__(self, log, fail):
        self.log = log
        self.fail = fail

    def __call__(self, row):
        if row["id"] == self.fail:
            raise RuntimeError("killed here")
        with open(self.log, "a") as file:
            file.write(f"{row['id']}\n")
        return {"id": row["id"], "twice": 2 * row["id"]}


def seen(log):
    with open(log) as file:
        return [int(line) for line in file]


def write(source, tmp_path, fail=None, **options):
    once = Once(str(tmp_path / "log"), fail)

    def step(row):
        return once(row)

    ds = ray.data.read_parquet(source, override_num_blocks=10).map(step)
    ds.write_parquet(str(tmp_path / "out"), checkpoint=str(tmp_path / "state"), **options)


def test_what_is_finished_is_not_done_again(source, tmp_path):
    with pytest.raises(RuntimeError, match="killed here"):
        write(source, tmp_path, fail=57)
    assert not (tmp_path / "out").exists()
    first = seen(tmp_path / "log")
    assert set(first) >= set(range(50))
    write(source, tmp_path)
    again = seen(tmp_path / "log")[len(first) :]
    assert again == list(range(30, 100))  # parts in groups: one, two and then four
    rows = ray.data.read_parquet(str(tmp_path / "out")).take_all()
    assert [row["id"] for row in rows] == list(range(100))
    assert sorted(os.listdir(tmp_path)) == ["in", "log", "out"]


PROGRAM = """
import os, sys
import heliostat as ray

source, out, state, fail = sys.argv[1:]


def step(row):
    if row["id"] == int(fail):
        os.kill(os.getpid(), 9)
    return row


ray.init(engine="inline")
ds = ray.data.read_parquet(source, override_num_blocks=10).map(step)
ds.write_csv(out, checkpoint=state)
"""


def test_a_killed_program_goes_on(source, tmp_path):
    def run(fail):
        places = [source, str(tmp_path / "out"), str(tmp_path / "state")]
        program = [sys.executable, "-c", PROGRAM, *places, str(fail)]
        return subprocess.run(program, capture_output=True, text=True, timeout=60)

    for fail in (31, 77):
        assert run(fail).returncode == -9
        assert not (tmp_path / "out").exists()
    assert len(os.listdir(tmp_path / "state")) > 1
    done = run(-1)
    assert done.returncode == 0, done.stderr
    rows = ray.data.read_csv(str(tmp_path / "out")).take_all()
    assert [row["id"] for row in rows] == list(range(100))
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_a_part_is_what_it_reads_however_old_and_well_known_its_file_is(source, monkeypatch):
    digests = []
    for age_ns in (1 << 62, 0):  # the file is too new to be known, and then it is not
        monkeypatch.setattr(parquet_footer, "AGE_NS", age_ns)
        digests.append([_resume._digest(one) for one in open_parquet(source).read_tasks(1 << 30)])
    assert digests[0] == digests[1]


def test_actors_begin_less_often_than_there_are_parts(source, tmp_path):
    class Model:
        def __init__(self, log):
            with open(log, "a") as file:
                file.write("0\n")

        def __call__(self, batch):
            return batch

    log, out = str(tmp_path / "log"), str(tmp_path / "out")
    ds = ray.data.read_parquet(source, override_num_blocks=10)
    ds = ds.map_batches(Model, fn_constructor_args=(log,), concurrency=1)
    ds.write_parquet(out, checkpoint=str(tmp_path / "state"))
    assert len(seen(log)) == 4  # for one, two, four and three parts
    assert [row["id"] for row in ray.data.read_parquet(out).take_all()] == list(range(100))


def test_another_write_does_not_take_a_checkpoint_over(source, tmp_path):
    with pytest.raises(RuntimeError):
        write(source, tmp_path, fail=57)
    with pytest.raises(ValueError, match="begun with other steps"):
        ray.data.read_parquet(source, override_num_blocks=10).write_parquet(
            str(tmp_path / "out"), checkpoint=str(tmp_path / "state")
        )


def test_what_needs_all_rows_cannot_be_continued(source, tmp_path):
    state = str(tmp_path / "state")
    with pytest.raises(ValueError, match="Limit"):
        ray.data.read_parquet(source).limit(3).write_csv(str(tmp_path / "out"), checkpoint=state)
    with pytest.raises(ValueError, match="reads from a source"):
        ray.data.from_items([1]).write_csv(str(tmp_path / "out"), checkpoint=state)


def test_filters_and_columns_by_expressions_are_continued_and_row_numbers_are_not(source, tmp_path):
    state, out = str(tmp_path / "state"), str(tmp_path / "out")
    ds = ray.data.read_parquet(source).map(lambda row: row).filter(expr="id >= 40")
    ds = ds.with_column("twice", ray.data.expressions.col("id") * 2)
    ds.write_parquet(out, checkpoint=state)
    rows = ray.data.read_parquet(out).take_all()
    assert rows == [{"id": number, "twice": 2 * number} for number in range(40, 100)]
    number = ray.data.expressions.monotonically_increasing_id()
    with pytest.raises(ValueError, match="cannot continue"):
        ds.with_column("n", number).write_parquet(out, checkpoint=state)


def test_a_run_with_another_filter_does_not_go_on_where_the_first_stopped(source, tmp_path):
    state, out = str(tmp_path / "state"), str(tmp_path / "out")

    def run(least, fail):
        once = Once(str(tmp_path / "log"), fail)
        wanted = pc.field("id").isin([*range(20), least, *range(40, 100)])
        ds = ray.data.read_parquet(source, filter=wanted).map(lambda row: once(row))
        ds.write_parquet(out, checkpoint=state)

    with pytest.raises(RuntimeError, match="killed here"):
        run(25, 97)
    with pytest.raises(ValueError, match="was begun with other parts"):
        run(26, None)


def test_parts_may_lie_in_directories_by_columns(source, tmp_path):
    ds = ray.data.read_parquet(source).map(lambda row: {"k": row["id"] % 2, "id": row["id"]})
    out = str(tmp_path / "out")
    ds.write_parquet(out, partition_cols=["k"], checkpoint=str(tmp_path / "state"))
    assert sorted(os.listdir(out)) == ["k=0", "k=1"]
    assert ray.data.read_parquet(out).count() == 100


def test_a_least_size_of_files_and_a_checkpoint_exclude_each_other(source, tmp_path):
    with pytest.raises(ValueError, match="min_rows_per_file=50 would join rows of several parts"):
        write(source, tmp_path, min_rows_per_file=50)


def plain(source):
    return ray.data.read_parquet(source).map(lambda row: row)


@pytest.mark.parametrize("where", ["mine", ".", ""])
def test_a_directory_with_files_of_others_is_no_checkpoint_and_keeps_them(
    where, source, tmp_path, monkeypatch
):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    precious = tmp_path / "mine" / "precious"
    precious.write_text("x")
    checkpoint = str(tmp_path / where) if where == "mine" else where
    with pytest.raises(ValueError, match=r"checkpoint='.*directory of its own"):
        plain(source).write_parquet(str(tmp_path / "out"), checkpoint=checkpoint)
    assert precious.read_text() == "x"


@pytest.mark.parametrize("where", ["out", "out/state", "."])
def test_a_checkpoint_and_its_target_do_not_contain_each_other(where, source, tmp_path):
    target, checkpoint = tmp_path / "place" / "out", tmp_path / "place" / where
    with pytest.raises(ValueError, match=r"checkpoint=.*neither may be inside the other"):
        plain(source).write_parquet(str(target), checkpoint=str(checkpoint))


def test_a_checkpoint_elsewhere_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint='s3://bucket/state'.*of this machine"):
        plain(source).write_parquet(str(tmp_path / "out"), checkpoint="s3://bucket/state")


def test_a_file_that_somebody_put_into_a_checkpoint_stays(source, tmp_path):
    with pytest.raises(RuntimeError, match="killed here"):
        write(source, tmp_path, fail=57)
    (tmp_path / "state" / "note").write_text("x")
    write(source, tmp_path)
    assert os.listdir(tmp_path / "state") == ["note"]


def test_a_checkpoint_may_be_on_another_disk_than_the_target(source, tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        assert os.stat(other).st_dev != os.stat(tmp_path).st_dev
        plain(source).write_parquet(str(tmp_path / "out"), checkpoint=os.path.join(other, "state"))
        assert os.listdir(other) == []
    assert ray.data.read_parquet(str(tmp_path / "out")).count() == 100


def test_what_is_appended_by_one_checkpoint_after_another_is_all_there(tmp_path):
    out, state = str(tmp_path / "out"), str(tmp_path / "state")
    for day in (1, 2):
        ray.data.range(10 * day).write_parquet(str(tmp_path / f"day{day}"))
        plain(str(tmp_path / f"day{day}")).write_parquet(out, checkpoint=state)
    assert ray.data.read_parquet(out).count() == 30


def test_a_run_that_ended_between_its_commit_and_the_end_of_its_checkpoint_appends_once(
    source, tmp_path, monkeypatch
):
    out, state, kept = (str(tmp_path / name) for name in ("out", "state", "kept"))
    commit = Staging.commit

    def committed(staging):
        commit(staging)
        if staging._path == out:
            shutil.copytree(state, kept)

    monkeypatch.setattr(Staging, "commit", committed)
    plain(source).write_parquet(out, checkpoint=state)
    monkeypatch.undo()
    os.rename(kept, state)
    plain(source).write_parquet(out, checkpoint=state)
    assert ray.data.read_parquet(out).count() == 100


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (
            lambda ds: ds.rename_columns({"twice": "x"}),
            lambda ds: ds.rename_columns({"twice": "y"}),
            "steps",
        ),
        (
            lambda ds: ds.select_columns(["id", "twice", "c", "d"]),
            lambda ds: ds.select_columns(["id", "c", "twice", "d"]),
            "steps",
        ),
    ],
)
def test_a_run_with_other_columns_does_not_go_on_where_the_first_stopped(
    first, second, what, source, tmp_path
):
    def run(change, fail):
        once = Once(str(tmp_path / "log"), fail)
        ds = ray.data.read_parquet(source).map(lambda row: {**once(row), "c": 1, "d": 2})
        change(ds).write_parquet(str(tmp_path / "out"), checkpoint=str(tmp_path / "state"))

    with pytest.raises(RuntimeError, match="killed here"):
        run(first, 57)
    with pytest.raises(ValueError, match=f"begun with other {what}"):
        run(second, None)


@pytest.mark.parametrize("verb", ["write_csv", "write_parquet"])
def test_a_run_with_another_format_does_not_go_on_where_the_first_stopped(verb, source, tmp_path):
    with pytest.raises(RuntimeError, match="killed here"):
        write(source, tmp_path, fail=57)
    options = {"partition_cols": ["twice"]} if verb == "write_parquet" else {}
    ds = ray.data.read_parquet(source, override_num_blocks=10).map(lambda row: row)
    with pytest.raises(ValueError, match="begun with other format"):
        getattr(ds, verb)(str(tmp_path / "out"), checkpoint=str(tmp_path / "state"), **options)


def test_a_file_that_was_written_anew_is_another_even_if_it_has_the_same_size(source, tmp_path):
    with pytest.raises(RuntimeError, match="killed here"):
        write(source, tmp_path, fail=57)
    path = os.path.join(source, sorted(os.listdir(source))[0])
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match="begun with other files"):
        write(source, tmp_path)


def test_names_that_two_parts_have_are_refused_before_all_is_done(source, tmp_path):
    class Numbers(FilenameProvider):
        def get_filename_for_block(self, block, write_uuid, task_index, block_index):
            return f"part-{task_index}.parquet"

    for _ in range(2):
        with pytest.raises(ValueError, match=r"name 'part-0.parquet' to two files; use write_uuid"):
            write(source, tmp_path, filename_provider=Numbers())
        assert len(set(seen(tmp_path / "log"))) < 50
    assert not (tmp_path / "out").exists()


def test_columns_stay_where_no_row_does(source, tmp_path):
    ds = ray.data.read_parquet(source).filter(lambda row: False)
    for _ in range(2):
        ds.write_parquet(str(tmp_path / "out"), checkpoint=str(tmp_path / "state"))
    back = ray.data.read_parquet(str(tmp_path / "out"))
    assert (back.columns(), back.count(), len(os.listdir(tmp_path / "out"))) == (["id"], 0, 1)
