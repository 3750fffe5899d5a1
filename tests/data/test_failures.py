import json
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def inverse(row):
    return {"v": 6 / row["id"]}


def batch_inverse(batch):
    if 0 in batch["id"] or 3 in batch["id"]:
        raise ZeroDivisionError("mine")
    return {"v": 6 / batch["id"]}


@pytest.fixture
def context(monkeypatch, tmp_path):
    made = ray.data.DataContext.get_current()
    monkeypatch.setattr(made, "quarantine_path", str(tmp_path / "failed"))
    monkeypatch.setattr(made, "max_errored_blocks", 0)
    return made


def values(ds):
    return [row["v"] for row in ds.take_all()]


def test_without_a_word_the_first_error_ends_it():
    with pytest.raises(ZeroDivisionError):
        ray.data.range(4).map(inverse).take_all()


def test_rows_that_fail_are_left_out():
    assert values(ray.data.range(4).map(inverse, on_error="skip")) == [6, 3, 2]
    flat = ray.data.range(4).flat_map(lambda row: [inverse(row), inverse(row)], on_error="skip")
    assert values(flat) == [6, 6, 3, 3, 2, 2]
    assert ray.data.range(4).filter(lambda row: 6 / row["id"] > 2, on_error="skip").count() == 2


def test_a_batch_is_halved_until_its_failing_rows_are_alone():
    ds = ray.data.range(7).map_batches(batch_inverse, batch_size=7, on_error="skip")
    assert values(ds) == [6, 3, 1.5, 1.2, 1]
    assert "2 rows failed" in ds.materialize().stats()


def test_rows_that_fail_may_be_null():
    got = values(ray.data.range(64).map(inverse, on_error="null"))
    assert got == [None, *(6 / i for i in range(1, 64))]
    with pytest.raises(ValueError, match="only map gives exactly one row"):
        ray.data.range(4).map_batches(batch_inverse, on_error="null")


def test_nulls_have_the_columns_of_the_rows_that_come_through(context, monkeypatch):
    for gone in ({0}, {3}, {0, 1, 5}, {2, 3, 4, 5}):

        def some(row, gone=gone):
            return {"v": [6, 7, 8, 9, 10, 11][row["id"] if row["id"] not in gone else 99]}

        for blocks in (1, 2, 6):
            ds = ray.data.range(6, override_num_blocks=blocks).map(some, on_error="null")
            expected = [{"v": None if i in gone else i + 6} for i in range(6)]
            assert ds.take_all() == expected
            assert ds.limit(4).take_all() == expected[:4]
            after = ds.map(lambda row: {"w": row["v"]})
            assert [row["w"] for row in after.take_all()] == [row["v"] for row in expected]
    nothing = ray.data.range(2, override_num_blocks=2).map(lambda row: row["x"], on_error="null")
    assert nothing.take_all() == [{"id": None}, {"id": None}]
    assert nothing.limit(1).take_all() == [{"id": None}]


def test_rows_that_fail_are_saved_with_the_reason(context):
    assert values(ray.data.range(4).map(inverse, on_error="quarantine")) == [6, 3, 2]
    (name,) = os.listdir(context.quarantine_path)
    with open(os.path.join(context.quarantine_path, name)) as file:
        (entry,) = map(json.loads, file)
    assert entry["row"] == {"id": 0}
    assert entry["error"] == "ZeroDivisionError: division by zero"
    assert "inverse" in entry["traceback"]
    assert entry["step"] == "Map(inverse)"


def test_the_context_says_it_for_all_verbs(context, monkeypatch):
    monkeypatch.setattr(context, "on_error", "skip")
    assert values(ray.data.range(4).map(inverse)) == [6, 3, 2]


def test_what_makes_no_sense_is_refused_at_once(context, monkeypatch):
    with pytest.raises(ValueError, match="on_error must be one of"):
        ray.data.range(1).map(inverse, on_error="ignore")
    monkeypatch.setattr(context, "quarantine_path", None)
    with pytest.raises(ValueError, match="set DataContext"):
        ray.data.range(1).map(inverse, on_error="quarantine")


def test_so_many_blocks_may_be_left_out(context, monkeypatch):
    def broken(batch):
        if batch["id"][0] in (2, 6):
            raise RuntimeError("mine")
        return {"v": batch["id"]}

    ds = ray.data.range(8, override_num_blocks=4).map_batches(broken)
    monkeypatch.setattr(context, "max_errored_blocks", 1)
    with pytest.raises(RuntimeError, match="mine"):
        ds.take_all()
    for allowed in (2, -1):
        monkeypatch.setattr(context, "max_errored_blocks", allowed)
        left = values(ds)
        assert len(left) == 8 - 2 * (8 - len(left)) // 2
        assert {0, 1, 4, 5} <= set(left) | {0, 1, 4, 5}
        assert not {2, 6} & set(left)


def test_a_row_that_kills_its_process_is_found_and_the_others_come_through(context, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    ray.shutdown()
    ray.init(num_cpus=2)

    def deadly(row):
        if row["id"] == 37:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"v": row["id"]}

    ds = ray.data.range(100, override_num_blocks=4).map(deadly, on_error="quarantine")
    assert values(ds) == [i for i in range(100) if i != 37]
    (name,) = os.listdir(context.quarantine_path)
    with open(os.path.join(context.quarantine_path, name)) as file:
        assert json.loads(file.read())["row"] == {"id": 37}


def test_a_row_that_kills_its_process_may_be_null(context, monkeypatch, caplog):
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    ray.shutdown()
    ray.init(num_cpus=2)

    def deadly(row):
        if row["id"] in (37, 38, 99):
            os.kill(os.getpid(), signal.SIGKILL)
        return {"v": row["id"], "t": np.full((2, 2), row["id"])}

    ds = ray.data.range(100, override_num_blocks=4).map(deadly, on_error="null")
    found = ds.add_column("w", lambda batch: batch["v"]).take_all()
    gone = [None if i in (37, 38, 99) else i for i in range(100)]
    assert [row["v"] for row in found] == gone
    assert [row["t"] is None for row in found] == [i is None for i in gone]
    assert "becomes a row of nulls" in caplog.text
    ds = ray.data.range(100, override_num_blocks=100).map(deadly, on_error="null")
    assert values(ds) == gone


def test_a_row_that_kills_an_actor_takes_no_other_row_with_it(context, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    ray.shutdown()
    ray.init(num_cpus=2)

    class Deadly:
        def __call__(self, row):
            if row["id"] == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return {"v": row["id"]}

    # Two that may be left out, at the price of more actors than a pool would lose otherwise.
    monkeypatch.setattr(context, "max_errored_blocks", 2)
    Both = type("Both", (), {"__call__": lambda self, row: Deadly()({"id": row["id"] % 4})})
    assert values(ray.data.range(8, override_num_blocks=8).map(Both, concurrency=1)) == [
        0, 1, 2, 0, 1, 2,
    ]  # fmt: skip
    for blocks in (1, 6):
        ds = ray.data.range(6, override_num_blocks=blocks)
        assert values(ds.map(Deadly, concurrency=1, on_error="skip")) == [0, 1, 2, 4, 5]


def test_a_class_that_kills_its_process_when_it_is_built_ends_the_run(context, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    ray.shutdown()
    ray.init(num_cpus=2)

    class Deadly:
        def __init__(self):
            os.kill(os.getpid(), signal.SIGKILL)

        def __call__(self, row):
            return row

    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.data.range(6).map(Deadly, concurrency=1, on_error="skip").take_all()


@pytest.fixture
def files(tmp_path):
    """Three files of each kind, the one in the middle of which is none."""
    for number in (1, 2, 3):
        pq.write_table(pa.table({"id": [number, -number]}), tmp_path / f"{number}.parquet")
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.json").write_text(f'{{"id": {number}}}\n{{"id": {-number}}}\n')
    (tmp_path / "2.parquet").write_bytes(b"PAR1 no such thing PAR1")
    (tmp_path / "2.png").write_bytes(b"no picture")
    (tmp_path / "2.json").write_text('{"id": 2}\n{"id": no number}\n')
    return str(tmp_path)


READERS = {"parquet": ray.data.read_parquet, "json": ray.data.read_json}


@pytest.mark.parametrize("kind", READERS)
def test_of_a_file_that_cannot_be_read_nothing_goes_on(context, files, kind):
    def read(**options):
        return READERS[kind](files, file_extensions=[kind], **options)

    with pytest.raises(ValueError, match=rf"2\.{kind}"):
        read().take_all()
    kept = [1, -1, 3, -3]
    ds = read(on_error="skip")
    assert [row["id"] for row in ds.take_all()] == kept
    assert (ds.count(), [row["id"] for row in ds.limit(3).take_all()]) == (4, kept[:3])
    assert ds.filter(expr="id > 0").sum("id") == 4
    assert read(on_error="quarantine").count() == 4
    [path] = sorted((Path(files) / "failed").iterdir())
    saved = json.loads(path.read_text().splitlines()[0])
    assert saved["row"]["path"].endswith(f"2.{kind}")
    assert f"2.{kind}" in saved["error"]
    with pytest.raises(ValueError, match="one for each file"):
        read(on_error="null")


def test_parquet_whose_pages_are_damaged_is_left_out_when_it_is_read(files):
    path = Path(files) / "2.parquet"
    pq.write_table(pa.table({"id": np.arange(1 << 16)}), path, row_group_size=1 << 12)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = b"x" * 4000
    path.write_bytes(bytes(content))
    ds = ray.data.read_parquet(files, file_extensions=["parquet"], on_error="skip")
    assert [row["id"] for row in ds.take_all()] == [1, -1, 3, -3]


def test_a_picture_that_cannot_be_read_may_be_null(context, files):
    def read(**options):
        return ray.data.read_images(files, file_extensions=["png"], **options)

    rows = read(on_error="null", include_paths=True).take_all()
    assert [row["image"] is None for row in rows] == [False, True, False]
    assert rows[1]["path"].endswith("2.png")
    assert read(on_error="null").count() == 3
    assert [row["image"][0, 0] for row in read(on_error="skip").take_all()] == [1, 3]
    assert read(on_error="skip").count() == 2


def test_what_the_context_says_holds_for_files_too(context, files, monkeypatch):
    monkeypatch.setattr(context, "on_error", "skip")
    assert READERS["json"](files, file_extensions=["json"]).count() == 4
    monkeypatch.setattr(context, "on_error", "null")
    with pytest.raises(ValueError, match=r"2\.json"):
        READERS["json"](files, file_extensions=["json"]).count()
    with pytest.raises(ValueError, match="on_error must be one of"):
        READERS["json"](files, on_error="ignore")
