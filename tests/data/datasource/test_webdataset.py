"""Samples of tar files; pickles in them are never loaded."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def pack(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


class Attack:
    """Makes a directory when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_rows_come_back(tmp_path):
    rows = [
        {"__key__": f"a/{n}", "txt": f"é{n}", "cls": n, "json": {"n": [n]}, "npy": np.full(2, n)}
        for n in range(5)
    ]
    ray.data.from_items(rows).write_webdataset(str(tmp_path / "out"), min_rows_per_file=2)
    assert len(os.listdir(tmp_path / "out")) == 3
    back = ray.data.read_webdataset(str(tmp_path / "out")).take_all()
    assert [row["__key__"] for row in back] == [f"a/{n}" for n in range(5)]
    assert [(row["txt"], row["cls"], row["json"]) for row in back] == [
        (f"é{n}", n, {"n": [n]}) for n in range(5)
    ]
    assert [row["npy"].tolist() for row in back] == [[n, n] for n in range(5)]
    assert back[0]["__url__"].endswith(".tar")


def test_members_are_chosen_renamed_and_decoded_as_asked_for(tmp_path):
    path = pack(
        tmp_path / "a.tar",
        [("1.cls", b"7"), ("1.txt", b"x"), ("1.json", b'{"k": 2}'), ("2.cls", b"8")],
    )
    bare = ray.data.read_webdataset(path, decoder=None, suffixes=["cls"]).take_all()
    assert [row["cls"] for row in bare] == [b"7", b"8"]
    assert "txt" not in bare[0]
    row = ray.data.read_webdataset(path, fileselect=["1.*"], expand_json=True).take_all()[0]
    assert (row["k"], row["txt"]) == (2, "x")
    renamed = ray.data.read_webdataset(path, filerename=[("cls", "label")], fileselect="*.label")
    assert renamed.take_all()[0]["label"] == b"7"

    def add(sample):
        return {"sum": len(sample)}

    assert ray.data.read_webdataset(path, decoder=[add]).columns() == ["sum"]


def test_pickles_are_never_loaded(tmp_path):
    done = str(tmp_path / "done")
    for ending in ("pkl", "pickle", "pyd", "pth"):
        path = pack(tmp_path / "evil.tar", [(f"1.{ending}", pickle.dumps(Attack(done)))])
        with pytest.raises(ValueError, match=rf"evil\.tar' as WebDataset: .*{ending}' is a pickle"):
            ray.data.read_webdataset(path).take_all()
    array = np.empty(1, object)
    array[0] = Attack(done)
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    path = pack(tmp_path / "evil.tar", [("1.npy", content.getvalue())])
    with pytest.raises(ValueError, match="npy"):
        ray.data.read_webdataset(path).take_all()
    assert not os.path.exists(done)


def test_broken_archives_are_named(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"a\.tar' as WebDataset"):
        ray.data.read_webdataset(str(tmp_path / "a.tar")).take_all()
    path = pack(tmp_path / "b.tar", [("1.cls", b"1"), ("2.cls", b"2"), ("1.txt", b"x")])
    with pytest.raises(ValueError, match="'1' are not next to each other"):
        ray.data.read_webdataset(path).take_all()
    path = pack(tmp_path / "c.tar", [("1.cls", b"one")])
    with pytest.raises(ValueError, match="'cls' cannot be decoded"):
        ray.data.read_webdataset(path).take_all()


def test_what_cannot_be_encoded_is_named(tmp_path):
    with pytest.raises(ValueError, match="column 'x' holds int"):
        ray.data.from_items([{"x": 1}]).write_webdataset(str(tmp_path / "out"))
    ds = ray.data.from_items([{"x": 1}])
    ds.write_webdataset(str(tmp_path / "out"), encoder=lambda row: {"x": str(row["x"])})
    assert ray.data.read_webdataset(str(tmp_path / "out")).take(1)[0]["x"] == b"1"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([{"__key__": "a.1", "cls": 1}, {"__key__": "a.2", "cls": 2}], "'a.1': .* first dot"),
        ([{"__key__": "a/", "cls": 1}], "'a/': .* slash"),
        ([{"__key__": "a", "cls": 1}, {"__key__": "a", "txt": "x"}], "two rows .*__key__='a'"),
        ([{"__key__": "a", "txt": None}, {"__key__": "b", "txt": "x"}], "'a' has no values"),
        ([{"__key__": "a", "b/c.txt": "x"}], "column 'b/c.txt' has a slash"),
    ],
)
def test_rows_that_would_not_come_back_are_refused(tmp_path, rows, why):
    ds = ray.data.from_items(rows, override_num_blocks=1)
    with pytest.raises(ValueError, match=why):
        ds.write_webdataset(str(tmp_path / "out"))
    assert not os.listdir(tmp_path)


def test_a_key_may_be_zero(tmp_path):
    ray.data.from_items([{"__key__": 0, "cls": 1}]).write_webdataset(str(tmp_path))
    assert ray.data.read_webdataset(str(tmp_path)).take(1)[0]["__key__"] == "0"
