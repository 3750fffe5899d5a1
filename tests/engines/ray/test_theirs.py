"""The real Ray: which versions will do, and what is said where there is none."""

import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest

import heliostat
from heliostat._engines.ray import theirs

without_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is not None, reason="Ray is installed here"
)


@pytest.mark.parametrize("version", ["2.60.0", "2.61.3", "2.100.0"])
def test_versions_in_the_range_will_do(version: str) -> None:
    theirs.check_version(version)


@pytest.mark.parametrize("version", ["2.9.0", "2.59.1", "3.0.0", "1.13.0", "0"])
def test_another_version_is_named_with_what_to_install(version: str) -> None:
    with pytest.raises(ImportError, match=rf"{version} .*pip install 'ray>=2\.60,<3'"):
        theirs.check_version(version)


@without_ray
@pytest.mark.parametrize(
    "options",
    [{"address": "auto"}, {"address": "ray://head:10001"}, {"engine": "ray"}],
    ids=lambda options: next(iter(options.values())),
)
def test_without_ray_a_cluster_is_an_error_that_says_what_to_install(
    options: dict[str, Any],
) -> None:
    begin = time.monotonic()
    with pytest.raises(ImportError, match=r"pip install 'heliostat\[ray\]"):
        heliostat.init(**options)
    assert time.monotonic() - begin < 5
    assert not heliostat.is_initialized()


@without_ray
def test_a_folder_that_is_called_ray_is_not_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ray").mkdir()  # as /tmp has one where Ray has run
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="which is not installed here"):
        heliostat.init(address="auto")


@without_ray
def test_the_environment_names_a_cluster_for_the_first_use_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HELIOSTAT_ADDRESS", "auto")
    with pytest.raises(ImportError, match="heliostat"):
        heliostat.put(1)
    assert not heliostat.is_initialized()
