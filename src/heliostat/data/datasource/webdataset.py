"""WebDataset: tar files in which neighbours with one name before the first dot are a row.

Members that hold pickles are never loaded: they would run code.
"""

import fnmatch
import io
import json
import os
import tarfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_rows, iter_rows
from heliostat.data.datasource.datasink import BlockBasedFileDatasink
from heliostat.data.datasource.files import OpenFile
from heliostat.data.datasource.images import pillow

__all__ = ["WebDatasetDatasink", "WebDatasetFormat"]

_PICTURES = ("jpg", "jpeg", "png", "ppm", "pgm", "pbm", "pnm")
_PICKLES = ("pickle", "pkl", "pyd", "pt", "pth")
ROWS_A_TABLE = 1024


@dataclass(frozen=True)
class WebDatasetFormat:
    """Samples of tar files.

    Args:
        decoder: True: by the ends of names; None or False: bytes; or a function from a sample to
            a sample; or a list of these.
        fileselect: Which members to read: a function, or a list of patterns.
        filerename: New names of members: a function, or pairs of what to replace by what.
        suffixes: Which members to keep, by the part after the first dot.
        expand_json: Give each key of the member `json` a column.
    """

    decoder: Any = True
    fileselect: Any = None
    filerename: Any = None
    suffixes: Any = None
    expand_json: bool = False

    name = "WebDataset"
    in_driver = False
    expansion = 2.0
    row_columns = ()
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Its samples, so many at a time."""
        rows: list[dict[str, Any]] = []
        with file.stream() as stream:
            for sample in _grouped(self._members(stream), self.suffixes):
                rows.append(self._decoded({**sample, "__url__": file.path}))
                if len(rows) == ROWS_A_TABLE:
                    yield from_rows(rows)
                    rows = []
        if rows:
            yield from_rows(rows)

    def _members(self, stream: Any) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if not member.isreg():
                    continue
                name = member.name
                for old, new in self.filerename if isinstance(self.filerename, list) else ():
                    name = name.replace(old, new)
                if callable(self.filerename):
                    name = self.filerename(name)
                if self.fileselect is None or _chosen(name, self.fileselect):
                    content = tar.extractfile(member)
                    assert content is not None
                    yield name, content.read()

    def _decoded(self, sample: dict[str, Any]) -> dict[str, Any]:
        decoders = self.decoder if isinstance(self.decoder, list) else [self.decoder]
        for one in decoders:
            if callable(one):
                sample = one(sample)
            elif one is True or isinstance(one, str):
                sample = {name: decode(name, value) for name, value in sample.items()}
        if self.expand_json and "json" in sample:
            value = sample["json"]
            parsed = json.loads(value) if isinstance(value, str | bytes) else value
            sample = {**sample, **{k: v for k, v in parsed.items() if k not in sample}}
        return sample


def _chosen(name: str, wanted: Any) -> bool:
    if callable(wanted):
        return bool(wanted(name))
    patterns = [wanted] if isinstance(wanted, str) else wanted
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _grouped(members: Iterable[tuple[str, bytes]], suffixes: Any) -> Iterator[dict[str, Any]]:
    sample: dict[str, Any] = {}
    seen: set[str] = set()
    for name, value in members:
        directory, base = os.path.split(name)
        stem, dot, ending = base.partition(".")
        if not dot or not stem:
            continue
        key = os.path.join(directory, stem)
        if sample and sample["__key__"] != key:
            seen.add(sample["__key__"])
            yield sample
            sample = {}
        if key in seen:
            raise ValueError(
                f"the members of sample {key!r} are not next to each other; "
                "pack the archive with its names sorted (tar --sort=name)"
            )
        if ending in sample:
            raise ValueError(f"two members are called {name!r}")
        sample["__key__"] = key
        if suffixes is None or _chosen(ending, suffixes) or _chosen(f".{ending}", suffixes):
            sample[ending] = value
    if sample:
        yield sample


def decode(name: str, value: Any) -> Any:
    """The value of a member, by the end of its name.

    Args:
        name: What comes after the first dot.
        value: Its bytes; other values stay as they are.

    Returns:
        Text, a number, an array, or what JSON says; bytes for other names.

    Raises:
        ValueError: if it is a pickle, or is not what its name says.

    Example:
        >>> decode("cls", b"3")
        3
    """
    kind = name.rsplit(".", 1)[-1].lower()
    if name.startswith("__") or not isinstance(value, bytes):
        return value
    if kind in _PICKLES:
        raise ValueError(
            f"member {name!r} is a pickle, and loading it would run whatever code is in it; "
            "give decoder=None for its bytes, or a decoder of your own"
        )
    try:
        return _DECODERS[kind](value) if kind in _DECODERS else value
    except (ValueError, OSError) as error:
        raise ValueError(f"member {name!r} cannot be decoded: {error}") from error


def _picture(value: bytes) -> Any:
    return np.asarray(pillow().open(io.BytesIO(value)))


def _msgpack() -> Any:
    try:
        import msgpack  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise ImportError("members that end in mp need msgpack: pip install msgpack") from error
    return msgpack


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "txt": bytes.decode,
    "text": bytes.decode,
    "cls": int,
    "cls2": int,
    "json": json.loads,
    "npy": lambda value: np.load(io.BytesIO(value), allow_pickle=False),
    "mp": lambda value: _msgpack().unpackb(value, raw=False),
    **dict.fromkeys(_PICTURES, _picture),
}


def encode(name: str, value: Any) -> bytes:
    """The bytes of a member, by the end of its name.

    Args:
        name: What comes after the first dot.
        value: What a column holds.

    Returns:
        Its bytes.

    Raises:
        ValueError: if nothing is known about such names, and the value is neither text nor bytes.

    Example:
        >>> encode("cls", 3)
        b'3'
    """
    kind = name.rsplit(".", 1)[-1].lower()
    if isinstance(value, bytes):
        return value
    content = io.BytesIO()
    if kind in _PICTURES:
        form = "jpeg" if kind == "jpg" else kind
        pillow().fromarray(np.asarray(value)).save(content, format=form)
        return content.getvalue()
    if kind == "npy":
        np.save(content, np.asarray(value), allow_pickle=False)
        return content.getvalue()
    if kind == "json":
        return json.dumps(value, default=_plain).encode()
    if kind == "mp":
        packed: bytes = _msgpack().packb(value, default=_plain)
        return packed
    if kind in ("cls", "cls2") or isinstance(value, str):
        return str(value).encode()
    raise ValueError(
        f"column {name!r} holds {type(value).__name__}, and nothing is known about names that end "
        f"in {kind!r}: turn it into bytes, rename it to .json or .npy, or give an encoder"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written")


class WebDatasetDatasink(BlockBasedFileDatasink):
    """Writes rows as samples of tar files.

    Args:
        path: The directory.
        encoder: As the format's decoder, the other way round.
        **options: Of every sink of files.
    """

    def __init__(self, path: Any, encoder: Any, **options: Any) -> None:
        super().__init__(path, file_format="tar", **options)
        self._encoders = encoder if isinstance(encoder, list) else [encoder]

    def write_table(self, table: pa.Table, file: Any) -> None:
        """Write the rows."""
        keys: set[str] = set()
        with tarfile.open(fileobj=file, mode="w|") as tar:
            for row in iter_rows(table):
                sample = self._encoded(row)
                key = sample.get("__key__")
                key = uuid.uuid4().hex if key is None or key == "" else str(key)
                members = [
                    (name, value)
                    for name, value in sample.items()
                    if not name.startswith("__") and value is not None
                ]
                _check_sample(key, [name for name, _ in members], keys)
                keys.add(key)
                _add_members(tar, key, members)

    def _encoded(self, row: Mapping[str, Any]) -> dict[str, Any]:
        sample = dict(row)
        for one in self._encoders:
            if callable(one):
                sample = one(sample)
            elif one is True or isinstance(one, str):
                sample = {
                    name: value if name.startswith("__") or value is None else encode(name, value)
                    for name, value in sample.items()
                }
        return sample


def _check_sample(key: str, names: Sequence[str], keys: set[str]) -> None:
    """Refuse what readers would take for another row, or for none."""
    base = key.rpartition("/")[2]
    if not base or "." in base:
        raise ValueError(
            f"__key__={key!r}: to readers a row's name ends at its first dot; "
            "give names without dots, that do not end with a slash"
        )
    if key in keys:
        raise ValueError(f"two rows of one archive have __key__={key!r}; give each its own")
    if not names:
        raise ValueError(f"the row with __key__={key!r} has no values, and would not be written")
    for name in names:
        if "/" in name:
            raise ValueError(f"column {name!r} has a slash in its name, which ends a directory")


def _add_members(tar: tarfile.TarFile, key: str, members: Iterable[tuple[str, Any]]) -> None:
    for name, value in members:
        content = value.encode() if isinstance(value, str) else value
        if not isinstance(content, bytes):
            raise ValueError(
                f"the encoder gave {type(value).__name__} for {name!r}; members are bytes"
            )
        member = tarfile.TarInfo(f"{key}.{name}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
