"""From what a user writes as paths to files: URIs, directories, globs, lists."""

import contextlib
import fnmatch
import functools
import glob
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from heliostat.data.connectors.reach import require_azure, require_gcs, require_http, require_s3
from heliostat.data.datasource.retry import retrying

__all__ = ["Found", "Paths", "contact", "find", "resolve", "to_filesystem"]

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


# What Arrow itself tries, for each request.
S3_ATTEMPTS = 10


class Found(NamedTuple):
    """One file, and the directory that its partitions are counted from."""

    path: str
    base: str
    size: int


def to_filesystem(filesystem: Any) -> fs.FileSystem | None:
    """A filesystem of Arrow's; one of fsspec's is wrapped.

    Args:
        filesystem: What the user gave.

    Returns:
        The same as Arrow has it, or None.

    Raises:
        TypeError: if it is neither.
    """
    if filesystem is None or isinstance(filesystem, fs.FileSystem):
        return filesystem
    if hasattr(filesystem, "protocol") and hasattr(filesystem, "open"):
        return _wrapped(filesystem)
    raise TypeError(
        "filesystem must be a pyarrow.fs.FileSystem or one of fsspec's, "
        f"got {type(filesystem).__name__}"
    )


def resolve(path: str | os.PathLike[str], filesystem: Any = None) -> tuple[fs.FileSystem, str]:
    """The filesystem of a path or URI, and the path on it.

    Args:
        path: A local path, or a URI such as `s3://anonymous@bucket/key`.
        filesystem: Use this one.

    Returns:
        Both.

    Raises:
        ValueError: if the URI's scheme is unknown.
        ImportError: if a package is needed for it; names it.
    """
    path = os.fspath(path)
    known = to_filesystem(filesystem)
    if known is not None:
        return known, path if _is_http(path) else path.split("://", 1)[-1]
    path = path.removeprefix("local://")
    if "://" not in path:
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
    if path.startswith("s3://"):
        return _s3(path)
    if _is_http(path):
        return _by_fsspec(path)
    try:
        found, inner = fs.FileSystem.from_uri(path)
    except pa.ArrowInvalid as error:
        if "Unrecognized filesystem type" in str(error):
            return _by_fsspec(path)
        raise ValueError(f"cannot use the URI {path!r}: {error}") from error
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"cannot use the URI {path!r}: {error}") from error
    return found, inner


def _is_http(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _by_fsspec(uri: str) -> tuple[fs.FileSystem, str]:
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise ImportError(f"{uri!r} needs fsspec: pip install 'heliostat[http]'") from error
    try:
        found, inner = url_to_fs(uri)
    except ImportError as error:
        scheme = uri.split("://", 1)[0]
        hint = "'heliostat[http]'" if _is_http(uri) else "the package it names"
        raise ImportError(f"{scheme}:// paths need a package: {error}; install {hint}") from error
    except ValueError as error:
        raise ValueError(f"cannot use the URI {uri!r}: {error}") from error
    return _wrapped(found), inner


def none_of(kind: str, given: str, endings: tuple[str, ...]) -> ValueError:
    """What to say where there are no files of a kind."""
    looked = (
        f" (looked for {', '.join(endings)}; file_extensions=None takes all)" if endings else ""
    )
    return ValueError(f"no {kind} files in {given}{looked}")


def _wrapped(filesystem: Any) -> fs.FileSystem:
    handler: Any = fs.FSSpecHandler
    if "http" in filesystem.protocol:
        from heliostat.data.connectors.http import HttpFiles as handler  # noqa: PLC0415 - as fsspec
    return fs.PyFileSystem(handler(filesystem))


def _s3(uri: str) -> tuple[fs.FileSystem, str]:
    """A client that is patient with its store; `anonymous@` before the bucket needs no credentials."""
    bucket, key, query = _s3_parts(uri)
    if "region" not in query and "endpoint_override" not in query:
        with contextlib.suppress(OSError):
            query["region"] = fs.resolve_s3_region(bucket)
    retries: Any = fs.AwsStandardS3RetryStrategy(max_attempts=S3_ATTEMPTS)
    return fs.S3FileSystem(retry_strategy=retries, **query), unquote(bucket + key)


def _s3_parts(uri: str) -> tuple[str, str, dict[str, Any]]:
    """The bucket, the key, and how to make a client."""
    parts = urlsplit(uri)
    who, at, bucket = parts.netloc.rpartition("@")
    query: dict[str, Any] = dict(parse_qsl(parts.query))
    elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if elsewhere:
        query.setdefault("endpoint_override", elsewhere)
    known = {"region", "endpoint_override", "scheme"}
    if set(query) - known:
        raise ValueError(
            f"{uri!r}: unknown {sorted(set(query) - known)}; known are {sorted(known)}"
        )
    if who == "anonymous":
        query["anonymous"] = True
    elif at:
        key, _, secret = who.partition(":")
        query.update(access_key=unquote(key), secret_key=unquote(secret))
    return bucket, parts.path, query


def contact(path: str | os.PathLike[str], filesystem: Any = None) -> tuple[fs.FileSystem, str]:
    """What `resolve` gives, of a store that answers.

    Args:
        path: A local path, or a URI.
        filesystem: Use this one; it is not asked.

    Returns:
        The filesystem, and the path on it.

    Raises:
        ConnectionError: if it is of an object store that does not answer.
    """
    uri = os.fspath(path)
    if filesystem is None and uri.startswith("s3://"):
        bucket, _, query = _s3_parts(uri)
        require_s3(bucket, query)
    elif filesystem is None and uri.startswith(("gs://", "gcs://")):
        require_gcs(uri)
    elif filesystem is None and uri.startswith(("abfs://", "abfss://")):
        require_azure(uri)
    elif filesystem is None and _is_http(uri):
        require_http(uri)
    elif filesystem is None and uri.startswith("hf://"):
        require_http(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    return resolve(path, filesystem)


def find(
    paths: Paths,
    *,
    kind: str,
    filesystem: Any = None,
    extensions: str | Sequence[str] | None = None,
    ignore_missing: bool = False,
) -> tuple[fs.FileSystem, list[Found]]:
    """The files that paths mean, in the order of the paths, those of a directory by name.

    Args:
        paths: Files, directories, globs or URIs.
        kind: What the files are called in errors.
        filesystem: Where they are, if the paths do not say.
        extensions: Which files count, by the end of their names; None for all.
        ignore_missing: Leave out what is not there.

    Returns:
        Their filesystem and the files.

    Raises:
        FileNotFoundError: if a path does not exist.
        TypeError: if there is what is no path.
        ValueError: if there are no files, or they are on several filesystems.
    """
    if not isinstance(paths, str | os.PathLike | Iterable):
        raise TypeError(f"paths must be a string or a list of them, got {paths!r:.80}")
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise ValueError(f"an empty list of {kind} paths; give at least one")
    for one in listed:
        if not isinstance(one, str | os.PathLike):
            raise TypeError(f"paths must be strings, got {type(one).__name__}: {one!r:.80}")
    endings = (extensions,) if isinstance(extensions, str) else tuple(extensions or ())
    where, inner = _on_one_filesystem(listed, filesystem)
    infos = retrying(lambda: where.get_file_info(inner), where)
    found: list[Found] = []
    for given, info in zip(listed, infos, strict=True):
        found += _meant(where, info, os.fspath(given), kind, endings, ignore_missing)
    if not found and not ignore_missing:
        raise none_of(kind, str([os.fspath(one) for one in listed]), endings)
    return where, found


def _on_one_filesystem(listed: Sequence[Any], filesystem: Any) -> tuple[fs.FileSystem, list[str]]:
    where = to_filesystem(filesystem)
    inner: list[str] = []
    for one in listed:
        here, path = contact(one, filesystem)
        # Two clients of one store are as good as one.
        if where is not None and here.type_name != where.type_name:
            raise ValueError(
                f"all paths must be on one filesystem; {os.fspath(one)!r} is on another"
            )
        where = where or here
        inner.append(path)
    assert where is not None
    return where, inner


def _meant(
    where: fs.FileSystem,
    info: Any,
    given: str,
    kind: str,
    endings: tuple[str, ...],
    ignore_missing: bool,
) -> list[Found]:
    path = info.path
    if info.type == fs.FileType.File:
        if endings and not _ends(path, endings):
            return []
        return [Found(path, os.path.dirname(path), info.size or 0)]
    if info.type == fs.FileType.Directory:
        files = _listed(where, path, path, endings)
        if not files and not ignore_missing:
            raise none_of(kind, f"directory {given!r}", endings)
        return files
    if any(sign in path for sign in "*?["):
        files = _globbed(where, path, endings)
        if not files and not ignore_missing:
            raise FileNotFoundError(f"no file matches {given!r}")
        return files
    if ignore_missing:
        return []
    raise FileNotFoundError(f"no such file or directory: {given!r}")


def _globbed(where: fs.FileSystem, pattern: str, endings: tuple[str, ...]) -> list[Found]:
    base = os.path.dirname(pattern[: min(pattern.find(sign) for sign in "*?[" if sign in pattern)])
    if isinstance(where, fs.LocalFileSystem):
        matched = where.get_file_info(sorted(glob.glob(pattern, recursive=True)))
    else:
        selector = fs.FileSelector(base, recursive=True, allow_not_found=True)
        listed = retrying(lambda: where.get_file_info(selector), where)
        matched = sorted(
            (one for one in listed if fnmatch.fnmatch(one.path, pattern)), key=lambda one: one.path
        )
    found: list[Found] = []
    for info in matched:
        if "/_" not in pattern[len(base) :] and "/_" in info.path[len(base) :]:
            continue
        if info.type == fs.FileType.Directory:
            found += _listed(where, info.path, base, endings)
        elif not endings or _ends(info.path, endings):
            found.append(Found(info.path, base, info.size or 0))
    # What lies in a matched directory may be matched itself.
    return list({file.path: file for file in found}.values())


def _listed(where: fs.FileSystem, path: str, base: str, endings: tuple[str, ...]) -> list[Found]:
    selector = fs.FileSelector(path, recursive=True)
    files, inner = [], len(path.rstrip("/"))
    for info in retrying(lambda: where.get_file_info(selector), where):
        counts = info.type == fs.FileType.File and (not endings or _ends(info.path, endings))
        if counts and not _HIDDEN.search(info.path, inner):
            files.append(Found(info.path, base, info.size or 0))
    return sorted(files)


# Names that begin with a dot or an underscore are what writers keep for themselves.
_HIDDEN = re.compile(r"(?:^|/)[._][^/=]*(?:/|$)")


def _ends(path: str, endings: tuple[str, ...]) -> bool:
    return path.lower().endswith(_suffixes(endings))


@functools.lru_cache(maxsize=64)
def _suffixes(endings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("." + one.lstrip(".").lower() for one in endings)
