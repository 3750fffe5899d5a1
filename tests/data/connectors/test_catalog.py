"""Tables by name: of a catalog of one's own, and of one that speaks as Unity Catalog does, over HTTP."""

import os
import subprocess
import sys

import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data import Catalog, CatalogAccessMode, DatabricksUnityCatalog, ResolvedSource

pytestmark = pytest.mark.usefixtures("inline")


class Folder(Catalog):
    """A folder of tables, which keeps who asked."""

    def __init__(self, root):
        self.root, self.asked = root, []

    def resolve(self, table, *, reader, mode=CatalogAccessMode.READ):
        self.asked.append((table, reader.value, mode.value))
        return ResolvedSource(str(self.root / table), storage_options={})


def test_a_catalog_of_ones_own_says_where_tables_are(tmp_path):
    catalog = Folder(tmp_path)
    ray.data.range(3).write_parquet("a", catalog=catalog)
    assert ray.data.read_parquet("a", catalog=catalog, columns=["id"]).sum("id") == 3
    assert sorted(os.listdir(tmp_path)) == ["a"]
    assert catalog.asked == [("a", "parquet", "write"), ("a", "parquet", "read")]


def test_an_iceberg_table_is_found_by_name(tmp_path):
    iceberg = pytest.importorskip("pyiceberg.catalog")
    pytest.importorskip("sqlalchemy")
    where = {"type": "sql", "uri": f"sqlite:///{tmp_path}/c.db", "warehouse": f"file://{tmp_path}"}
    made = iceberg.load_catalog("default", **where)
    made.create_namespace("db")
    made.create_table("db.t", pa.schema([("id", pa.int64())]))

    class Iceberg(Catalog):
        def resolve(self, table, *, reader, mode=CatalogAccessMode.READ):
            return ResolvedSource(catalog_kwargs=where, table_identifier=f"db.{table}")

    ray.data.range(3).write_iceberg("t", catalog=Iceberg())
    assert ray.data.read_iceberg(table_identifier="t", catalog=Iceberg()).count() == 3


def test_what_makes_no_sense_is_refused(tmp_path):
    read, catalog = ray.data.read_parquet, Folder(tmp_path)
    with pytest.raises(TypeError, match=r"takes a heliostat\.data\.Catalog, got 'c'"):
        read("a", catalog="c")
    with pytest.raises(TypeError, match="takes the name of one table"):
        read(["a"], catalog=catalog)
    with pytest.raises(ValueError, match="leave filesystem out"):
        read("a", catalog=catalog, filesystem=pa.fs.LocalFileSystem())
    with pytest.raises(ValueError, match="knows no table_identifier of 'a'"):
        ray.data.read_iceberg(table_identifier="a", catalog=catalog)
    catalog.resolve = lambda *args, **words: ResolvedSource("a", pa.fs.LocalFileSystem())
    with pytest.raises(ValueError, match="by storage_options, and the catalog gave a filesystem"):
        ray.data.read_delta("a", catalog=catalog)
    with pytest.raises(ValueError, match="needs url and token"):
        DatabricksUnityCatalog(url="https://x")
    with pytest.raises(ConnectionError, match=r"nothing answers at http://127\.0\.0\.1:9"):
        ray.data.read_unity_catalog("c.s.t", "http://127.0.0.1:9", "t")


# Both services are in another process: a stream of Arrow's that is let go waits for its store.
SERVICES = """
import json, logging, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
TABLES = {"main.sales.delta": "DELTA", "main.sales.files": "PARQUET", "main.sales.csv": "CSV"}


class Unity(BaseHTTPRequestHandler):
    def answer(self, code, said):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def do_GET(self):
        root, _, name = self.path.rpartition("/")
        if self.headers["Authorization"] != "Bearer secret":
            return self.answer(403, {"message": "no"})
        if root != "/api/2.1/unity-catalog/tables" or name not in TABLES:
            return self.answer(404, {"message": f"{name} does not exist"})
        place = f"s3://bucket/{name}"
        kind = TABLES[name]
        self.answer(200, {"table_id": name, "data_source_format": kind, "storage_location": place})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/api/2.1/unity-catalog/temporary-table-credentials"
        keys = {"access_key_id": "a", "secret_access_key": asked["operation"], "session_token": "t"}
        self.answer(200, {"aws_temp_credentials": keys, "url": f"s3://bucket/{asked['table_id']}"})

    def log_message(self, *said):
        pass


store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
store.start()
unity = ThreadingHTTPServer(("127.0.0.1", 0), Unity)
Thread(target=unity.serve_forever, daemon=True).start()
print(store.get_host_and_port()[1], unity.server_port, flush=True)
sys.stdin.read()
"""

PROGRAM = """
import os, sys
import heliostat as ray
from pyarrow import fs

store, unity = sys.argv[1:]
os.environ.update(
    HELIOSTAT_PROGRESS="0", AWS_ENDPOINT_URL=f"http://127.0.0.1:{store}", AWS_EC2_METADATA_DISABLED="true",
    AWS_ALLOW_HTTP="true", AWS_S3_ALLOW_UNSAFE_RENAME="true",
)
ray.init(engine="inline")
s3 = fs.S3FileSystem(
    endpoint_override=f"127.0.0.1:{store}", scheme="http", region="us-east-1", access_key="k", secret_key="s",
    allow_bucket_creation=True,
)
s3.create_dir("bucket")
url = f"http://127.0.0.1:{unity}"


class Provider:
    def get_host(self):
        return url

    def get_token(self):
        return "secret"


catalog = ray.data.DatabricksUnityCatalog(credential_provider=Provider(), region="us-east-1")
ray.data.range(4).write_parquet("main.sales.files", catalog=catalog)
print(ray.data.read_parquet("main.sales.files", catalog=catalog).sum("id"))
print(ray.data.read_unity_catalog("main.sales.files", url, "secret", region="us-east-1").count())
try:
    import deltalake
except ImportError:
    print(4)
else:
    ray.data.range(4).write_delta("main.sales.delta", catalog=catalog)
    print(ray.data.read_unity_catalog("main.sales.delta", url, "secret", region="us-east-1").count())
for table, token, region in (
    ("main.sales.csv", "secret", "us-east-1"), ("main.sales.none", "secret", None),
    ("main.sales.files", "wrong", None), ("main.sales.files", "secret", None),
):
    try:
        ray.data.read_unity_catalog(table, url, token, region=region)
    except Exception as error:
        print(type(error).__name__, error)
os._exit(0)
"""


def test_unity_catalog_lends_credentials_for_a_table(tmp_path):
    pytest.importorskip("moto")
    command = [sys.executable, "-W", "ignore", "-c"]
    with subprocess.Popen(
        [*command, SERVICES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as services:
        ports = services.stdout.readline().split()
        done = subprocess.run(
            [*command, PROGRAM, *ports], capture_output=True, text=True, timeout=120
        )
        services.kill()
    lines = done.stdout.splitlines()
    assert lines[:3] == ["6", "4", "4"], done.stderr[-3000:]
    kind, missing, refused, nowhere = lines[3:]
    assert kind.startswith("ValueError 'main.sales.csv' is of format 'csv'; read here are delta")
    assert missing.startswith("FileNotFoundError Unity Catalog at http://127.0.0.1:")
    assert refused.startswith("PermissionError Unity Catalog at")
    assert nowhere.endswith("DatabricksUnityCatalog(region=...) is needed")
