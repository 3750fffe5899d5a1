import pyarrow as pa
import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def dataset(value, rows, blocks):
    return ray.data.from_arrow(pa.table({"v": [value] * rows})).repartition(blocks)


def test_rows_keep_to_the_weights_as_long_as_both_last():
    ds = dataset(1, 90, 30).mix(dataset(2, 90, 30), weights=[2, 1])
    got = [row["v"] for row in ds.take_all()]
    assert (got.count(1), got.count(2)) == (90, 90)
    assert got[:60].count(1) == 39 or abs(got[:60].count(1) - 40) <= 3
    # The longer one goes on alone.
    assert set(got[-40:]) == {2}


def test_a_mix_may_end_with_its_shortest_dataset():
    ds = dataset(1, 10, 5).mix(
        dataset(2, 100, 50), stopping_condition=ray.data.MixStoppingCondition.STOP_ON_SHORTEST
    )
    got = [row["v"] for row in ds.take_all()]
    assert got.count(1) == 10
    assert abs(got.count(2) - 10) <= 2


def test_a_mix_goes_on_through_functions_and_limits():
    ds = ray.data.range(20).mix(ray.data.range(20)).map(lambda row: {"v": row["id"]})
    assert ds.count() == 40
    assert len(ds.take(5)) == 5
    with pytest.raises(ValueError, match="a weight above 0 for each of 2"):
        ray.data.range(2).mix(ray.data.range(2), weights=[1])


def test_a_streaming_split_puts_each_row_into_one_of_two():
    ds = ray.data.range(1000, override_num_blocks=7)
    train, test = ds.streaming_train_test_split(0.25)
    ids = sorted(row["id"] for part in (train, test) for row in part.take_all())
    assert ids == list(range(1000))
    assert 180 < test.count() < 320
    keys = ds.map(lambda row: {"k": f"key {row['id'] % 50}"})
    one, two = keys.streaming_train_test_split(0.3, split_type="hash", hash_column="k")
    assert not set(one.unique("k")) & set(two.unique("k"))
    with pytest.raises(ValueError, match="'hash' with a hash_column"):
        ds.streaming_train_test_split(0.3, split_type="hash")
