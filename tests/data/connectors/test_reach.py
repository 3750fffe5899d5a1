"""A store that does not answer is named at once, and not tried for minutes."""

import importlib.util
import subprocess
import sys

import pytest

from heliostat.data.connectors import reach

# In a process of its own: the clients of Arrow keep threads and descriptors for as long as it lives.
READ = """
import os, sys
import heliostat as ray
from heliostat.data.connectors import reach
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
reach.PATIENCE_S = 1
nobody = "endpoint_override=127.0.0.1%3A9&scheme=http"
for uri in (f"s3://key:secret@bucket/x?{nobody}", f"gs://anonymous@bucket/x?{nobody}"):
    for act in (ray.data.read_parquet, ray.data.range(3).write_parquet):
        try:
            act(uri)
        except ConnectionError as error:
            print(error)
try:
    ray.data.read_parquet("abfs://account:secret@127.0.0.1:9/container/x")
except ConnectionError as error:
    print(error)
try:
    ray.data.read_csv("http://127.0.0.1:9/x.csv")
except (ConnectionError, ImportError) as error:
    print(error)
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
try:
    ray.data.read_parquet("hf://datasets/a/b/c.parquet")
except ConnectionError as error:
    print(error)
os._exit(0)
"""


def test_a_store_without_an_answer_is_named_with_a_remedy():
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 7, done.stderr[-2000:]
    if importlib.util.find_spec("aiohttp") is None:
        del lines[5]
    for line in lines:
        assert line.startswith("nothing answers at 127.0.0.1:9: see whether this machine has a")
        assert "secret" not in line
    assert "endpoint_override" in lines[0]
    assert "retry_limit_seconds" in lines[2]


def test_google_s_store_is_looked_for_once_and_not_by_its_slow_client(monkeypatch):
    tried = []

    def nobody(address, timeout):
        tried.append(address)
        raise OSError("no such name")

    monkeypatch.setattr(reach.socket, "create_connection", nobody)
    for name in reach._PROXIES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConnectionError, match=r"storage\.googleapis\.com:443"):
        reach.require_gcs("gs://anonymous@bucket/x.parquet")
    assert tried == [("storage.googleapis.com", 443)]
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    reach.require_gcs("gs://bucket/x.parquet")
    assert len(tried) == 1


def test_a_store_that_answers_is_asked_once(monkeypatch):
    monkeypatch.setattr(reach, "_answered", set())
    asked = []

    def refuses():
        asked.append(1)
        raise OSError("AWS Error ACCESS_DENIED during HeadBucket operation")

    for _ in range(2):
        reach._require(refuses, "there", "")
    assert asked == [1]


def test_a_store_that_was_away_for_a_moment_is_there(monkeypatch):
    monkeypatch.setattr(reach, "_answered", set())
    monkeypatch.setattr(reach, "FIRST_DELAY_S", 0.001)
    asked = []

    def at_last():
        asked.append(1)
        if len(asked) < 3:
            raise OSError("AWS Error NETWORK_CONNECTION: curlCode: 6, Could not resolve hostname")

    reach._require(at_last, "there", "")
    assert len(asked) == 3
