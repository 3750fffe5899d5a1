"""What is read off the machine."""

from pathlib import Path

import pytest

from heliostat._engines.local.processes import machine


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        ("NVIDIA A100-SXM4-40GB", ["A100"]),
        ("Tesla T4", ["T4"]),
        ("Tesla V100-SXM2-16GB", ["V100"]),
        ("Unknown", []),
    ],
)
def test_the_kind_of_a_gpu_is_the_first_word_of_its_model(
    tmp_path: Path, model: str, kinds: list[str]
) -> None:
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t 1\n")
    assert machine.gpu_kinds(tmp_path) == kinds


def test_a_machine_without_gpus_has_no_kinds_of_them(tmp_path: Path) -> None:
    assert machine.gpu_kinds(tmp_path) == []
