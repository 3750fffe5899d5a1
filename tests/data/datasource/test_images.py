"""Pictures become arrays."""

import numpy as np
import pytest

import heliostat as ray

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def pictures(tmp_path):
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        Image.fromarray(np.full((4, 6), number, np.uint8)).save(folder / "a.png")
    (tmp_path / "notes.txt").write_text("")
    return str(tmp_path)


def test_a_picture_is_a_row(pictures):
    ds = ray.data.read_images(pictures, include_paths=True)
    assert ds.count() == 3
    rows = ds.take_all()
    assert [row["image"].tolist() for row in rows] == [[[n] * 6] * 4 for n in range(3)]
    assert rows[1]["path"] == f"{pictures}/1/a.png"


def test_pictures_are_brought_to_a_size_and_a_mode(pictures):
    row = ray.data.read_images(pictures, size=(2, 3), mode="RGB").take(1)[0]
    assert row["image"].shape == (2, 3, 3)
    with pytest.raises(ValueError, match="size must be"):
        ray.data.read_images(pictures, size=(0, 3))


def test_what_is_no_picture_is_named(pictures):
    with open(f"{pictures}/1/a.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\nno")
    with pytest.raises(ValueError, match=r"1/a\.png' as Image"):
        ray.data.read_images(pictures).take_all()


def test_what_is_no_array_is_not_written_as_a_picture(tmp_path):
    with pytest.raises(
        ValueError, match=r"column 'id' holds an array of shape \(\) that is no PNG"
    ):
        ray.data.range(1).write_images(str(tmp_path), column="id")
