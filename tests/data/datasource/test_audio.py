"""Sound."""

import numpy as np
import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def test_a_file_is_a_row_of_channels_and_samples(tmp_path):
    sound = pytest.importorskip("soundfile")
    wave = np.linspace(-0.5, 0.5, 800, dtype=np.float32)
    sound.write(tmp_path / "a.wav", np.stack([wave, -wave], axis=1), 8000, subtype="FLOAT")
    sound.write(tmp_path / "b.flac", wave, 16000)
    one, two = ray.data.read_audio(str(tmp_path), include_paths=True).take_all()
    assert np.array_equal(one["amplitude"], np.stack([wave, -wave]))
    assert one["sample_rate"] == 8000
    assert one["path"].endswith("a.wav")
    assert two["amplitude"].shape == (1, 800)
    assert two["amplitude"].dtype == np.float32


def test_what_is_no_sound_is_told_with_its_name(tmp_path):
    pytest.importorskip("soundfile")
    (tmp_path / "bad.wav").write_bytes(b"no sound at all")
    with pytest.raises(ValueError, match=r"bad\.wav") as told:
        ray.data.read_audio(str(tmp_path)).take_all()
    assert "not sound that libsndfile reads" in str(told.value)
