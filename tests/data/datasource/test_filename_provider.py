"""Names of the files that a write makes."""

import os

import pytest

import heliostat as ray
from heliostat.data.datasource.filename_provider import FilenameProvider

pytestmark = pytest.mark.usefixtures("inline")


def test_no_two_parts_blocks_or_rows_have_a_name_in_common():
    provider = FilenameProvider("mine", "csv")
    names = {
        *(provider.get_filename_for_task("w", task) for task in range(3)),
        *(provider.get_filename_for_block(None, "w", task, 1) for task in range(3)),
        *(
            provider.get_filename_for_row({}, "w", task, 0, row)
            for task in (0, 1)
            for row in (0, 1)
        ),
    }
    assert len(names) == 10
    assert all(name.startswith("mine") and name.endswith(".csv") for name in names)


def test_a_users_names_are_those_of_the_files(tmp_path):
    class Mine(FilenameProvider):
        def get_filename_for_task(self, write_uuid, task_index):
            return f"mine-{task_index}.parquet"

    ray.data.range(3, override_num_blocks=1).write_parquet(str(tmp_path), filename_provider=Mine())
    assert "mine-0.parquet" in os.listdir(tmp_path)
