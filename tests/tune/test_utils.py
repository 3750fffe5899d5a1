"""Tools around trials: GPUs that get free, functions that can be sent, classes that come back."""

import threading
from pathlib import Path

import pytest

from heliostat import tune
from heliostat.tune.utils import (
    date_str,
    deep_update,
    diagnose_serialization,
    flatten_dict,
    merge_dicts,
    unflattened_lookup,
    validate_save_restore,
    wait_for_gpu,
    warn_if_slow,
)


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


def test_a_dict_becomes_flat_and_ways_through_it_are_found():
    deep = {"a": {"b": {"c": 1}, "e": []}, "d": [{"x": 2}]}
    assert flatten_dict(deep) == {"a/b/c": 1, "a/e": [], "d": [{"x": 2}]}
    assert flatten_dict(deep, delimiter=".", flatten_list=True) == {"a.b.c": 1, "d.0.x": 2}
    with pytest.raises(ValueError, match="key 'b/c' has the delimiter '/'"):
        flatten_dict({"a": {"b/c": 1}}, prevent_delimiter=True)
    assert unflattened_lookup("d/0/x", deep) == 2
    assert unflattened_lookup("a/b", {"a/b": 3}) == 3
    assert unflattened_lookup("a/q", deep, default=4) == 4
    with pytest.raises(KeyError, match="a/q"):
        unflattened_lookup("a/q", deep)
    with pytest.raises(TypeError, match="not other="):
        unflattened_lookup("a", deep, other=1)


def test_one_dict_goes_on_top_of_another():
    below = {"a": {"b": 1, "c": {"d": 2}}, "m": {"type": "x", "k": 1}}
    assert merge_dicts(below, {"a": {"c": {"e": 3}}, "n": 4})["a"]["c"] == {"d": 2, "e": 3}
    assert below["a"]["c"] == {"d": 2}
    with pytest.raises(KeyError, match="unknown key 'z'; there are: 'b', 'c'"):
        deep_update(merge_dicts(below, {}), {"a": {"z": 1}})
    given = {"m": {"type": "y"}}
    assert deep_update(dict(below), given, override_all_if_type_changes=["m"])["m"] == given["m"]
    whole = deep_update(dict(below), {"m": {"q": 1}}, override_all_key_list=["m"])
    assert whole["m"] == {"q": 1}
    more = deep_update(merge_dicts(below, {}), {"a": {"z": 1}}, allow_new_subkey_list=["a"])
    assert more["a"]["z"] == 1


def test_what_takes_long_is_told(caplog, monkeypatch):
    with warn_if_slow("nothing"), warn_if_slow("all", threshold=-1, disable=True):
        pass
    assert not caplog.records
    with warn_if_slow("all", threshold=-1, message="{name} took long"):
        pass
    monkeypatch.setenv("TUNE_WARN_THRESHOLD_S", "-1")
    with warn_if_slow("it"):
        pass
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "all took long"
    assert second.startswith("it took 0.0")
    assert date_str()[4] == "-"
