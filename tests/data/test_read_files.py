"""The readers of files as users call them."""

import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")

READERS = ("read_csv", "read_json", "read_text", "read_binary_files", "read_images", "read_numpy")


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_names_what_is_missing_and_what_is_unknown(reader, tmp_path):
    read = getattr(ray.data, reader)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read("/nowhere/x")
    with pytest.raises(TypeError, match="'zz'"):
        read(str(tmp_path), zz=1)
    with pytest.raises(ValueError, match=str(tmp_path)):
        read(str(tmp_path))


def test_a_missing_path_that_may_be_left_out_leaves_an_empty_dataset():
    assert ray.data.read_text("/nowhere/x", ignore_missing_paths=True).take_all() == []
