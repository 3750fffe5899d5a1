"""Films."""

import io
import types
from pathlib import Path

import numpy as np
import pytest

import heliostat as ray
from heliostat.data.datasource import video

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two seconds of ten frames each, ever brighter."""
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("films") / "a.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "bgr0"
        for number in range(20):
            pixels = np.full((24, 32, 3), 10 * number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return str(path)


def test_a_frame_is_a_row(film):
    rows = ray.data.read_videos(film).take_all()
    assert [row["frame_index"] for row in rows] == list(range(20))
    assert rows[3]["frame"].shape == (24, 32, 3)
    assert [int(row["frame"].mean()) for row in rows] == [10 * number for number in range(20)]


def test_frames_may_be_left_out_made_smaller_and_told_when_they_are_seen(film):
    ds = ray.data.read_videos(film, fps=5, resize=(12, 16), include_timestamps=True)
    rows = ds.take_all()
    assert [row["frame_index"] for row in rows] == list(range(0, 20, 2))
    assert rows[0]["frame"].shape == (12, 16, 3)
    assert np.allclose(rows[1]["frame_timestamp"], [0.2, 0.3])


def test_a_film_is_read_in_several_blocks(film, monkeypatch):
    monkeypatch.setattr(video, "BLOCK_BYTES", 24 * 32 * 3 * 8)
    file = types.SimpleNamespace(buffer=lambda: io.BytesIO(Path(film).read_bytes()))
    assert [block.num_rows for block in video.VideoFormat().read(file, None)] == [8, 8, 4]


def test_bad_arguments_and_files_are_refused(film, tmp_path):
    with pytest.raises(ValueError, match="fps must be an int >= 1"):
        ray.data.read_videos(film, fps=0)
    with pytest.raises(ValueError, match="resize must be"):
        ray.data.read_videos(film, resize=(1,))
    (tmp_path / "bad.mp4").write_bytes(b"no film at all")
    with pytest.raises(ValueError, match=r"bad\.mp4") as told:
        ray.data.read_videos(str(tmp_path)).take_all()
    assert "not a film that FFmpeg reads" in str(told.value)


def test_a_file_without_pictures_is_told(tmp_path):
    sound = pytest.importorskip("soundfile")
    pytest.importorskip("av")
    sound.write(tmp_path / "a.wav", np.zeros(800, np.float32), 8000)
    with pytest.raises(ValueError, match="no pictures"):
        ray.data.read_videos(str(tmp_path / "a.wav"), file_extensions=None).take_all()
