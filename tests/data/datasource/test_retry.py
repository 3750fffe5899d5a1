"""What passes is tried again; what will not pass is not."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

import heliostat as ray
from heliostat.data.datasource import retry

pytestmark = pytest.mark.usefixtures("inline")


class Shaky(fs.FileSystemHandler):
    """Local files whose every other request fails."""

    def __init__(self, error="AWS Error SLOW_DOWN"):
        self.local = fs.LocalFileSystem()
        self.error = error
        self.calls = 0

    def shake(self):
        self.calls += 1
        if self.calls % 2:
            raise OSError(self.error)

    def get_type_name(self):
        return "shaky"

    def get_file_info(self, paths):
        self.shake()
        return self.local.get_file_info(paths)

    def get_file_info_selector(self, selector):
        self.shake()
        return self.local.get_file_info(selector)

    def open_input_file(self, path):
        self.shake()
        return self.local.open_input_file(path)

    def _no(self, *args):
        raise AssertionError(args)

    open_input_stream = open_append_stream = open_output_stream = _no
    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _no
    delete_file = move = copy_file = _no

    def normalize_path(self, path):
        return path


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_DELAY_S", 0.001)


def test_a_shaky_store_is_read_to_the_end(tmp_path, quick):
    table = pa.table({"id": range(1000)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    (tmp_path / "a.csv").write_text("id\n" + "\n".join(map(str, range(1000))))
    shaky = fs.PyFileSystem(Shaky())
    assert ray.data.read_parquet(str(tmp_path), filesystem=shaky).count() == 1000
    for ds in (
        ray.data.read_parquet(str(tmp_path), filesystem=shaky),
        ray.data.read_csv(str(tmp_path / "a.csv"), filesystem=shaky),
    ):
        assert sum(ds.to_pandas()["id"]) == 499_500


def test_what_does_not_pass_is_raised_with_the_path(tmp_path, quick):
    (tmp_path / "a.csv").write_text("id\n1\n")
    broken = Shaky("AWS Error ACCESS_DENIED")
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        ray.data.read_csv(str(tmp_path / "a.csv"), filesystem=fs.PyFileSystem(broken))
    assert broken.calls == 1


def test_a_file_is_read_and_sought(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(retry, "PIECE_BYTES", 3)
    (tmp_path / "a").write_bytes(bytes(range(10)))
    file = retry.RetryingFile(fs.PyFileSystem(Shaky()), str(tmp_path / "a"))
    assert file.read() == bytes(range(10))
    assert (file.seek(-4, 2), file.read(2), file.tell(), file.size()) == (6, b"\6\7", 8, 10)
    file.close()
    assert file.closed


def test_a_store_that_refuses_credentials_says_what_to_give():
    def refused():
        raise OSError("When reading 'k' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject")

    with pytest.raises(PermissionError, match=r"bucket 'b'.*AWS_ACCESS_KEY_ID.*anonymous@"):
        retry.retrying(refused, fs.SubTreeFileSystem("/", fs.LocalFileSystem()))


@pytest.mark.parametrize("said", ["AWS Error ExpiredToken", "AWS Error UNKNOWN (HTTP status 400)"])
def test_a_session_that_may_have_expired_is_told_at_once_with_what_to_renew(tmp_path, said):
    shaky = Shaky(said)
    with pytest.raises(OSError, match=r"expired, get new ones.*AWS_SESSION_TOKEN"):
        ray.data.read_csv(str(tmp_path / "a.csv"), filesystem=fs.PyFileSystem(shaky))
    assert shaky.calls == 1


def test_what_goes_on_failing_says_how_often_and_how_long_it_was_tried(quick):
    def fails():
        calls.append(1)
        raise TimeoutError("no answer from 'b'")

    calls = []
    with pytest.raises(TimeoutError, match=r"no answer from 'b'; tried 6 times within 0\.\d s"):
        retry.retrying(fails, fs.SubTreeFileSystem("/", fs.LocalFileSystem()))
    assert len(calls) == 6


def test_an_error_of_another_library_stays_one_that_can_be_made(quick):
    class OfTheirs(OSError):
        def __init__(self, key, cause):
            super().__init__(f"{key}: {cause}")

    def fails():
        raise OfTheirs("host", "no answer")

    with pytest.raises(OSError, match="host: no answer; tried 6 times") as caught:
        retry.retrying(fails, fs.SubTreeFileSystem("/", fs.LocalFileSystem()))
    assert isinstance(caught.value.__cause__, OfTheirs)


def test_a_deadline_that_expired_is_tried_again(quick):
    assert retry.is_transient(OSError("the deadline expired before an answer"))
    assert not retry.is_transient(OSError("ExpiredToken: the token has expired"))
