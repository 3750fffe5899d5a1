"""What paths tell."""

import pytest

import heliostat as ray
from heliostat.data.datasource.partitioning import (
    Partitioning,
    PathPartitionFilter,
    PathPartitionParser,
)

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def folder(tmp_path):
    for year in (2023, 2024):
        for country in ("DE", "FR"):
            path = tmp_path / f"{year}" / country / "a.csv"
            path.parent.mkdir(parents=True)
            path.write_text(f"id\n{year}\n")
    return str(tmp_path)


def test_directories_can_be_columns_without_names(folder):
    partitioning = Partitioning(
        "dir", base_dir=folder, field_names=["year", "country"], field_types={"year": int}
    )
    rows = ray.data.read_csv(folder, partitioning=partitioning).take_all()
    assert rows[1] == {"id": 2023, "year": 2023, "country": "FR"}
    assert ray.data.read_csv(folder, partitioning=None).columns() == ["id"]


def test_a_filter_leaves_files_out(folder):
    only = PathPartitionFilter.of(
        lambda values: values["country"] == "FR",
        style="dir",
        base_dir=folder,
        field_names=["year", "country"],
    )
    ds = ray.data.read_csv(folder, partition_filter=only, include_paths=True)
    assert [row["path"].endswith("FR/a.csv") for row in ds.take_all()] == [True, True]


def test_hive_values_are_unquoted_and_null_is_null():
    parser = PathPartitionParser.of("hive")
    assert parser("/x/a=b%2Fc/d=__HIVE_DEFAULT_PARTITION__/f.csv") == {"a": "b/c", "d": None}
    assert parser("x/f.csv") == {}
    assert parser.scheme.style == "hive"


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="field_names"):
        Partitioning("dir")
    with pytest.raises(ValueError, match="'zz'"):
        Partitioning("zz")
    with pytest.raises(ValueError, match=r"'/a/1/x' has 1 directories.*\['b', 'c'\]"):
        PathPartitionParser.of("dir", "/a", ["b", "c"])("/a/1/x")
    with pytest.raises(ValueError, match=r"name \['y'\]"):
        PathPartitionParser.of("hive", field_names=["b"])("/a/y=1/x")
    with pytest.raises(ValueError, match=r"y='x'.*no int"):
        PathPartitionParser.of("hive", field_types={"y": int})("/a/y=x/x")


def test_directories_above_what_is_read_are_columns_too(tmp_path):
    table = tmp_path / "of=us" / "year=2024"
    ray.data.from_items([{"v": 1}]).write_csv(str(table / "month=2"))
    (path,) = (table / "month=2").iterdir()
    wanted = {"v": 1, "of": "us", "year": "2024", "month": "2"}
    for where in (tmp_path, table, table / "month=2", path):
        assert ray.data.read_csv(str(where)).take_all() == [wanted]
    below = Partitioning("hive", base_dir=str(table))
    assert ray.data.read_csv(str(path), partitioning=below).take_all() == [{"v": 1, "month": "2"}]
    assert Partitioning("hive").values("https://a/get?of=us/k=1/x.csv", "https://a") == {"k": "1"}


def test_a_missing_value_has_the_type_of_the_others(tmp_path):
    there, missing = [{"v": 1}], [{"v": 2}]
    kinds = Partitioning("hive", field_types={"k": int})
    for form in ("csv", "parquet", "text"):
        ds = [ray.data.from_items(rows) for rows in (there, missing)]
        for one, value in zip(ds, ("10", "__HIVE_DEFAULT_PARTITION__"), strict=True):
            out = str(tmp_path / form / f"k={value}")
            one.write_parquet(out) if form == "parquet" else one.write_csv(out)
        read = getattr(ray.data, f"read_{form}")
        ds = read(str(tmp_path / form), partitioning=kinds)
        schema = ds.materialize().schema()
        assert str(schema.types[schema.names.index("k")]) == "int64"
        assert {row["k"] for row in ds.take_all()} == {10, None}
