import pytest

import heliostat as ray
from heliostat.data.aggregate import Max
from heliostat.data.datatype import DataType

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def people():
    return ray.data.from_items(
        [
            {"age": 25, "name": "Alice"},
            {"age": 30, "name": None},
            {"age": 0, "name": "Bob"},
            {"age": 45, "name": "Bob"},
        ]
    )


def test_each_column_has_the_statistics_of_its_type(people):
    summary = people.summary()
    assert summary.get_column_stats("age") == {
        "count": 4, "missing_pct": 0.0, "mean": 25.0, "min": 0, "max": 45,
        "std": pytest.approx(18.7083, abs=1e-3), "zero_pct": 25.0, "approx_quantile[0]": 27.5,
    }  # fmt: skip
    name = summary.get_column_stats("name")
    assert (name["count"], name["missing_pct"]) == (4, 25.0)
    assert name["approx_topk[0]"] == {"name": "Bob", "count": 2}
    frame = summary.to_pandas()
    assert list(frame.columns) == ["statistic", "age", "name"]
    assert frame.set_index("statistic")["age"]["max"] == 45


def test_a_type_may_be_told_of_otherwise(people):
    summary = people.summary(
        ["age"], override_dtype_agg_mapping={DataType.int64(): lambda column: [Max(column)]}
    )
    assert summary.get_column_stats("age") == {"max": 45}
    with pytest.raises(KeyError, match="no column 'name' in the summary"):
        summary.get_column_stats("name")
    with pytest.raises(KeyError, match="zz"):
        people.summary(["zz"])
