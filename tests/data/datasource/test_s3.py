"""An object store on this machine that fails and dawdles now and then: the result is right."""

import subprocess
import sys

import pytest

pytest.importorskip("moto")
pytest.importorskip("flask")

# In a process of its own: the client of Arrow keeps threads and descriptors for as long as it lives.
STORE = """
import itertools, logging, os, random, threading, time
import heliostat as ray
from moto.server import ThreadedMotoServer
from pyarrow import fs

logging.getLogger("werkzeug").setLevel(logging.ERROR)
os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_EC2_METADATA_DISABLED="true")


class Shaky:
    '''Every eleventh answer is an error, every seventh one is late.'''

    def __init__(self, app):
        self.app, self.numbers, self.errors = app, itertools.count(1), 0

    def __call__(self, environ, start_response):
        number = next(self.numbers)
        if number % 7 == 0:
            time.sleep(0.05)
        if shaking.is_set() and number % 11 == 0:
            self.errors += 1
            status = "503 Slow Down" if number % 2 else "500 Internal Server Error"
            start_response(status, [("Content-Length", "0")])
            return [b""]
        return self.app(environ, start_response)


shaking = threading.Event()
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
import moto.server as moto_server
plain = moto_server.DomainDispatcherApplication
shaky = []


def wrapped(*args, **kwargs):
    shaky.append(Shaky(plain(*args, **kwargs)))
    return shaky[-1]


import moto.moto_server.threaded_moto_server as threaded
threaded.DomainDispatcherApplication = wrapped
server.start()
host, port = server.get_host_and_port()
store = fs.S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1", allow_bucket_creation=True)
store.create_dir("bucket")
where = f"?endpoint_override={host}%3A{port}&scheme=http&region=us-east-1"
ray.init(engine="inline")
os.environ["HELIOSTAT_PROGRESS"] = "0"
shaking.set()
ds = ray.data.range(20_000, override_num_blocks=20)
ds.write_parquet("s3://bucket/out" + where)
back = ray.data.read_parquet("s3://bucket/out" + where)
print(back.count(), int(back.to_pandas()["id"].sum()), len(back.input_files()))
ds.write_csv("s3://bucket/csv" + where)
rows = ray.data.read_csv("s3://bucket/csv" + where)
print(rows.count(), int(rows.to_pandas()["id"].sum()))
ds.limit(10).write_parquet("s3://bucket/out" + where, mode="overwrite")
print(ray.data.read_parquet("s3://bucket/out" + where).count())
try:
    ds.write_parquet("s3://bucket/out" + where, mode="error")
except FileExistsError:
    print("refused")
try:
    ds.map(lambda row: 1 // 0).write_parquet("s3://bucket/none" + where)
except ZeroDivisionError:
    print(store.get_file_info("bucket/none").type.name)
print(shaky[0].errors > 5)
os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
print(ray.data.read_parquet("s3://bucket/out").count())
os._exit(0)
"""


def test_a_store_that_fails_now_and_then_is_read_and_written():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORE], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr[-3000:]
    total = 20_000 * 19_999 // 2
    assert done.stdout.splitlines() == [
        f"20000 {total} 20",
        f"20000 {total}",
        "10",
        "refused",
        "NotFound",
        "True",
        "10",
    ]


# The store is another process: a stream of Arrow's that is let go waits for it, and keeps the GIL.
ANOTHER = """
import logging, sys, time
import moto.moto_server.threaded_moto_server as threaded

logging.getLogger("werkzeug").setLevel(logging.ERROR)
plain = threaded.DomainDispatcherApplication


def moody(*args, **kwargs):
    app = plain(*args, **kwargs)

    def answer(environ, start_response):
        if open(sys.argv[1]).read() != "expired":
            return app(environ, start_response)
        said = b"<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"
        said = b"" if environ["REQUEST_METHOD"] == "HEAD" else said
        start_response("400 Bad Request", [("Content-Length", str(len(said)))])
        return [said]

    return answer


threaded.DomainDispatcherApplication = moody
server = threaded.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

ENDS = """
import os, sys, time
import boto3
import heliostat as ray
from pyarrow import fs

mood, port = sys.argv[1:]
os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_EC2_METADATA_DISABLED="true")
store = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{port}", scheme="http", region="us-east-1", allow_bucket_creation=True)
store.create_dir("bucket")
where = f"?endpoint_override=127.0.0.1%3A{port}&scheme=http&region=us-east-1"
os.environ["HELIOSTAT_PROGRESS"] = "0"
ray.init(num_cpus=2, log_to_driver=False)
ray.data.range(100).write_parquet("s3://bucket/kept" + where)


def begun(port=port):
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")


def fail(batch):
    if batch["id"][0] == 0:
        return batch
    client = begun()
    while not client.list_multipart_uploads(Bucket="bucket").get("Uploads"):
        time.sleep(0.01)
    raise ValueError("mine")


def attempt(work):
    try:
        work()
    except Exception as error:
        print(type(error).__mro__[1].__name__, "400" in str(error), "mine" in str(error))


large = ray.data.range(6_000_000, override_num_blocks=2)
attempt(lambda: large.map_batches(fail, batch_size=None).write_parquet("s3://bucket/none" + where))
print(begun().list_multipart_uploads(Bucket="bucket").get("Uploads"))
print([entry.path for entry in store.get_file_info(fs.FileSelector("bucket/none", allow_not_found=True))])
open(mood, "w").write("expired")
began = time.monotonic()
attempt(lambda: ray.data.read_parquet("s3://bucket/kept" + where).count())
attempt(lambda: large.write_parquet("s3://bucket/none" + where))
print(time.monotonic() - began < 60)
open(mood, "w").write("well")
print(ray.data.read_parquet("s3://bucket/kept" + where).count())
ray.shutdown()
os._exit(0)
"""


def test_a_write_that_fails_leaves_no_upload_open_and_an_expired_token_is_told(tmp_path):
    pytest.importorskip("boto3")
    mood = tmp_path / "mood"
    mood.touch()
    command = [sys.executable, "-W", "ignore", "-c"]
    with subprocess.Popen(
        [*command, ANOTHER, mood], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as store:
        port = store.stdout.readline().strip()
        done = subprocess.run(
            [*command, ENDS, mood, port], capture_output=True, text=True, timeout=150
        )
        store.kill()
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "_Dual False True",
        "None",
        "[]",
        "Exception True False",
        "Exception True False",
        "True",
        "100",
    ]
