import socket
import subprocess
import sys

import pytest
from pyarrow import fs

from heliostat.train._reachable import check_reachable

# In a process of its own: the client of Arrow keeps threads and descriptors for as long as it lives.
NOBODY = """
import itertools, os, socket, sys, threading, time
from pyarrow import fs
from heliostat.train import DataParallelTrainer, RunConfig
from heliostat.train import _reachable

_reachable.SILENCE_S = 0.5
os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_EC2_METADATA_DISABLED="true")

def fails(port):
    query = f"?endpoint_override=127.0.0.1%3A{port}&scheme=http&region=us-east-1"
    config = RunConfig(storage_path="s3://bucket/runs" + query, verbose=0)
    began = time.monotonic()
    try:
        DataParallelTrainer(print, run_config=config).fit()
    except ConnectionError as error:
        print(time.monotonic() - began < 20, f"nobody answers at 127.0.0.1:{port}" in str(error),
              "endpoint_override" in str(error))

with socket.socket() as refusing, socket.socket() as silent:
    refusing.bind(("127.0.0.1", 0))
    fails(refusing.getsockname()[1])
    silent.bind(("127.0.0.1", 0))
    silent.listen(50)
    fails(silent.getsockname()[1])

# One that has no time is there.
def busy(server):
    while True:
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 503 Slow Down\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
        connection.close()

server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=busy, args=(server,), daemon=True).start()
store = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{server.getsockname()[1]}", scheme="http", region="us-east-1")
_reachable.check_reachable("bucket/runs", store)
print("there")
sys.stdout.flush()
os._exit(0)
"""


def test_a_store_where_nobody_answers_is_named_soon_and_one_that_is_busy_is_there():
    if not hasattr(fs, "S3FileSystem"):
        pytest.skip("this pyarrow has no S3")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOBODY], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == ["True True True", "True True True", "there"]


def test_other_file_systems_are_not_asked(tmp_path):
    check_reachable("anywhere", fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()))


def test_an_unreachable_google_store_is_named_soon(monkeypatch):
    if not hasattr(fs, "GcsFileSystem"):
        pytest.skip("this pyarrow has no GCS")
    monkeypatch.setattr("heliostat.train._reachable.GIVE_UP_S", 0.5)
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{refusing.getsockname()[1]}"
        store = fs.GcsFileSystem(anonymous=True, scheme="http", endpoint_override=address)
        with pytest.raises(ConnectionError, match=f"nobody answers at {address}"):
            check_reachable("bucket/runs", store)
