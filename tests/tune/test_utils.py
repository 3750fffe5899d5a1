"""Tools around trials: GPUs that get free, functions that can be sent, classes that come back."""

import threading
from pathlib import Path

import pytest

from heliostat import tune
from heliostat.tune.utils import diagnose_serialization, validate_save_restore, wait_for_gpu


class Count(tune.Trainable):
    def setup(self, config):
        self.x, self.by = 0, config.get("by", 1)

    def step(self):
        self.x += self.by
        return {"x": self.x}

    def save_checkpoint(self, checkpoint_dir):
        return {"x": self.x}

    def load_checkpoint(self, checkpoint):
        self.x = checkpoint["x"]


class Forgets(Count):
    def load_checkpoint(self, checkpoint):
        pass


class Chance(Count):
    def step(self):
        return {"x": id(self)}


def test_a_class_that_goes_on_from_its_checkpoint_passes():
    assert validate_save_restore(Count, {"by": 2}) is True
    assert validate_save_restore(Chance) is True


def test_a_class_that_forgets_is_told_at_which_step_and_what():
    with pytest.raises(ValueError, match=r"Forgets .* step 4 returned .*'x': 1.*'x': 4"):
        validate_save_restore(Forgets)
    with pytest.raises(TypeError, match="takes a Trainable class"):
        validate_save_restore(len)


def test_what_cannot_be_sent_is_found(capsys):
    lock = threading.Lock()
    assert diagnose_serialization(lambda config: {"loss": 1}) is True
    found = diagnose_serialization(lambda config: lock)
    assert [type(part.obj) for part in found] == [type(lock)]
    assert "lock" in capsys.readouterr().out


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A program that says of two GPUs what the machine has none of to say."""

    def make(*shown):
        # Each call shows the next line of use, the last one for ever.
        program = tmp_path / "nvidia-smi"
        (tmp_path / "use").write_text("\n".join(shown) + "\n")
        program.write_text(
            f"#!/bin/sh\ncd {tmp_path}\nread -r use < use\n"
            "[ $(wc -l < use) -gt 1 ] && sed -i 1d use\n"
            'echo "0, GPU-a, 0, 1000"\necho "1, GPU-b, $use, 1000"\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return make


def test_a_gpu_is_waited_for_until_it_is_free(smi, tmp_path):
    smi("900", "500", "5")
    assert wait_for_gpu(1, delay_s=0.01) is True
    assert Path(tmp_path, "use").read_text() == "5\n"
    assert wait_for_gpu("GPU-a", target_util=0) is True


def test_a_gpu_that_is_not_there_or_stays_in_use_is_named(smi, monkeypatch):
    smi("900")
    with pytest.raises(RuntimeError, match=r"GPU 1 has 90% .* after 2 looks"):
        wait_for_gpu(1, retry=2, delay_s=0.01)
    with pytest.raises(RuntimeError, match=r"no GPU 7; nvidia-smi knows 0 \(GPU-a\), 1"):
        wait_for_gpu(7)
    with pytest.raises(RuntimeError, match="where no GPU was asked for"):
        wait_for_gpu()
    with pytest.raises(ValueError, match="give target_util"):
        wait_for_gpu(0, gpu_memory_limit=0.5)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="needs nvidia-smi"):
        wait_for_gpu(0)
