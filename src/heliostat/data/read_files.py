"""Readers of files, a format each; what they have in common is in `read_options`."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from pyarrow import fs

from heliostat.data._plan import Read
from heliostat.data.dataset import Dataset
from heliostat.data.datasource import audio, csv, images, json, orc, video
from heliostat.data.datasource.avro import AvroFormat, fastavro
from heliostat.data.datasource.files import FileSource, Format, with_constants
from heliostat.data.datasource.numpy import NumpyFormat
from heliostat.data.datasource.partitioning import Partitioning
from heliostat.data.datasource.paths import Paths, find
from heliostat.data.datasource.text import BinaryFormat, TextFormat
from heliostat.data.datasource.tfrecords import TfrecordsFormat
from heliostat.data.datasource.webdataset import WebDatasetFormat
from heliostat.data.read_options import (
    FileOptions,
    check_names,
    of_files,
    open_arguments,
    own_options,
    parse_place,
    pieces,
    shuffling,
)

__all__ = [
    "read_audio",
    "read_avro",
    "read_binary_files",
    "read_csv",
    "read_files",
    "read_images",
    "read_json",
    "read_numpy",
    "read_orc",
    "read_text",
    "read_tfrecords",
    "read_videos",
    "read_webdataset",
]

_HIVE = Partitioning("hive")


def read_csv(paths: Paths, **options: Any) -> Dataset:
    """Read CSV files; Arrow finds out the types.

    Directories named like `year=2024` become columns of strings.

    Args:
        paths: A file, directory, glob or URI, or a list of them. Names that end in `.gz`, `.bz2`,
            `.zst`, `.br` or `.lz4` are unpacked.
        **options: `read_options`, `parse_options` and `convert_options` of `pyarrow.csv`, and
            those of every reader of files (`FileOptions`).

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: when it is read, if a file is no CSV; names the file and the row.
        TypeError: if an option is unknown.

    Example:
        >>> from pathlib import Path
        >>> import heliostat as ray
        >>> _ = Path("trips.csv").write_text("id,fare\\n1,2.5\\n2,7.0\\n")
        >>> ray.data.read_csv("trips.csv").take_all()
        [{'id': 1, 'fare': 2.5}, {'id': 2, 'fare': 7.0}]
    """
    own, common = own_options(
        "read_csv", options, ("read_options", "parse_options", "convert_options")
    )
    return read_files("read_csv", paths, csv.CsvFormat(**own), common, partitioning=_HIVE)


def read_json(paths: Paths, *, lines: bool = False, **options: Any) -> Dataset:
    """Read JSON files: an object a line, an array of objects, or one object.

    Directories named like `year=2024` become columns of strings.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        lines: Each line is an object; nothing else is tried.
        **options: `read_options` and `parse_options` of `pyarrow.json`, and those of every reader
            of files (`FileOptions`).

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: when it is read, if a file is no JSON; names the file and the row.
        TypeError: if an option is unknown.

    Example:
        >>> from pathlib import Path
        >>> import heliostat as ray
        >>> _ = Path("trips.jsonl").write_text('{"id": 1}\\n{"id": 2}\\n')
        >>> ray.data.read_json("trips.jsonl").take_all()
        [{'id': 1}, {'id': 2}]
    """
    own, common = own_options("read_json", options, ("read_options", "parse_options"))
    form = json.JsonFormat(lines, **own)
    return read_files(
        "read_json", paths, form, common, extensions=json.EXTENSIONS, partitioning=_HIVE
    )


def read_text(
    paths: Paths,
    *,
    encoding: str = "utf-8",
    drop_empty_lines: bool = True,
    **options: Unpack[FileOptions],
) -> Dataset:
    """Read lines of text files, into a column `text`.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        encoding: How characters are written.
        drop_empty_lines: Leave out lines of white space.
        **options: See `FileOptions`.

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: when it is read, if a file has another encoding; names the file and the byte.
        LookupError: if there is no such encoding.

    Example:
        >>> from pathlib import Path
        >>> import heliostat as ray
        >>> _ = Path("poem.txt").write_text("roses\\n\\nviolets\\n")
        >>> ray.data.read_text("poem.txt").take_all()
        [{'text': 'roses'}, {'text': 'violets'}]
    """
    "".encode(encoding)
    return read_files("read_text", paths, TextFormat(encoding, drop_empty_lines), options)


def read_binary_files(paths: Paths, **options: Unpack[FileOptions]) -> Dataset:
    """Read files as they are, one row each, into a column `bytes`.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        **options: See `FileOptions`.

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.

    Example:
        >>> from pathlib import Path
        >>> import heliostat as ray
        >>> _ = Path("a.bin").write_bytes(b"abc")
        >>> ray.data.read_binary_files("a.bin").take_all()
        [{'bytes': b'abc'}]
    """
    return read_files("read_binary_files", paths, BinaryFormat(), options)


def read_images(
    paths: Paths,
    *,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    arrow_open_file_args: Mapping[str, Any] | None = None,
    **options: Unpack[FileOptions],
) -> Dataset:
    """Read pictures as arrays, one row each, into a column `image`.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        size: Height and width to bring them to.
        mode: Of Pillow, such as `"L"` or `"RGB"`.
        arrow_open_file_args: As `arrow_open_stream_args`.
        **options: See `FileOptions`. Only png, jpg, jpeg, tif, tiff, bmp and gif files count
            unless `file_extensions` says otherwise.

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if the size makes no sense; when it is read, if a file is no picture.

    Example:
        >>> import heliostat as ray
        >>> from PIL import Image
        >>> Image.new("L", (3, 2)).save("a.png")
        >>> ray.data.read_images("a.png").take(1)[0]["image"].shape
        (2, 3)
    """
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"size must be (height, width), both >= 1, got {size!r}")
    if arrow_open_file_args is not None:
        options["arrow_open_stream_args"] = arrow_open_file_args
    form = images.ImageFormat(size, mode)
    return read_files("read_images", paths, form, options, extensions=images.EXTENSIONS)


def read_audio(paths: Paths, **options: Unpack[FileOptions]) -> Dataset:
    """Read files of sound, one row each. Needs soundfile: `pip install 'heliostat[audio]'`.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        **options: See `FileOptions`. Only files with the usual endings of sound count unless
            `file_extensions` says otherwise.

    Returns:
        A Dataset: `amplitude`, an array of channels and samples from -1 to 1, and `sample_rate`.

    Raises:
        FileNotFoundError: if a path does not exist.
        ImportError: when it is read, if soundfile is not installed.
        ValueError: when it is read, if a file is no sound that libsndfile reads.
    """
    return read_files(
        "read_audio", paths, audio.AudioFormat(), options, extensions=audio.EXTENSIONS
    )


def read_videos(
    paths: Paths,
    *,
    include_timestamps: bool = False,
    fps: int | None = None,
    resize: tuple[int, int] | None = None,
    **options: Unpack[FileOptions],
) -> Dataset:
    """Read films, one row a frame. Needs PyAV: `pip install 'heliostat[video]'`.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        include_timestamps: Add `frame_timestamp`: when each begins and ends, in seconds.
        fps: About how many frames a second to keep; None keeps all.
        resize: Height and width to bring them to.
        **options: See `FileOptions`. Only files with the usual endings of films count unless
            `file_extensions` says otherwise.

    Returns:
        A Dataset: `frame`, an array of height, width and colours, and its number `frame_index`.

    Raises:
        FileNotFoundError: if a path does not exist.
        ImportError: when it is read, if PyAV is not installed.
        ValueError: if `fps` or `resize` makes no sense; when it is read, if a file is no film.
    """
    if fps is not None and (isinstance(fps, bool) or fps != int(fps) or fps < 1):
        raise ValueError(f"fps must be an int >= 1, got {fps!r}")
    if resize is not None and (len(resize) != 2 or min(resize) < 1):
        raise ValueError(f"resize must be (height, width), both >= 1, got {resize!r}")
    form = video.VideoFormat(include_timestamps, fps, resize)
    return read_files("read_videos", paths, form, options, extensions=video.EXTENSIONS)


def read_numpy(paths: Paths, *, allow_pickle: bool = False, **options: Any) -> Dataset:
    """Read `.npy` files; each element along the first axis is a row, in a column `data`.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        allow_pickle: Not offered: unpickling a file runs whatever code is in it.
        **options: `fix_imports`, `encoding` and `max_header_size` of `numpy.load`, and those of every
            reader of files (`FileOptions`).

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: when it is read, if a file is no array, or has Python objects in it.
        NotImplementedError: if `allow_pickle` is true.
        TypeError: if an option is unknown.

    Example:
        >>> import heliostat as ray
        >>> import numpy as np
        >>> np.save("a.npy", np.arange(2))
        >>> ray.data.read_numpy("a.npy").take_all()
        [{'data': 0}, {'data': 1}]
    """
    if allow_pickle:
        raise NotImplementedError(
            "read_numpy(allow_pickle=True) is not offered: unpickling a file runs whatever code "
            "is in it; save the array with a numeric dtype"
        )
    own, common = own_options("read_numpy", options, ("fix_imports", "encoding", "max_header_size"))
    form = NumpyFormat(tuple(own.items()))
    return read_files("read_numpy", paths, form, common, extensions=("npy",))


def read_webdataset(
    paths: Paths,
    *,
    decoder: Any = True,
    fileselect: Any = None,
    filerename: Any = None,
    suffixes: Any = None,
    verbose_open: bool = False,
    expand_json: bool = False,
    **options: Unpack[FileOptions],
) -> Dataset:
    """Read tar files of samples: neighbours with one name before the first dot are a row.

    Columns are `__key__`, `__url__` and what comes after the dots.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        decoder: True decodes txt, cls, json, npy, mp and pictures by the ends of their names;
            None leaves bytes; or a function from a sample to a sample; or a list of these.
        fileselect: Which members to read: patterns, or a function of their names.
        filerename: New names for members: pairs `(old, new)`, or a function.
        suffixes: Which members to keep, by what comes after the first dot.
        verbose_open: Print each file's path when it is listed.
        expand_json: Give each key of the member `json` a column.
        **options: See `FileOptions`.

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: when it is read, if a file is no such archive, or a member is a pickle, which
            is never loaded.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([{"__key__": "a", "txt": "x"}]).write_webdataset("samples")
        >>> ray.data.read_webdataset("samples").select_columns(["__key__", "txt"]).take_all()
        [{'__key__': 'a', 'txt': 'x'}]
    """
    form = WebDatasetFormat(decoder, fileselect, filerename, suffixes, expand_json)
    ds = read_files("read_webdataset", paths, form, options)
    if verbose_open:
        print("\n".join(ds.input_files()))  # noqa: T201 - what it is for
    return ds


def read_tfrecords(
    paths: Paths, *, tf_schema: Any = None, **options: Unpack[FileOptions]
) -> Dataset:
    """Read TFRecords of `tf.train.Example`; TensorFlow is not needed.

    A feature that has one value at most in all rows of a part is that value, or null; others are
    lists.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        tf_schema: Not offered.
        **options: See `FileOptions`.

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: when it is read, if a file is damaged; tells at which byte.
        NotImplementedError: if `tf_schema` is given.

    Example:
        >>> import heliostat as ray
        >>> ray.data.from_items([{"id": 1, "name": "x"}]).write_tfrecords("records")
        >>> ray.data.read_tfrecords("records").take_all()
        [{'id': 1, 'name': b'x'}]
    """
    if tf_schema is not None:
        raise NotImplementedError(
            "read_tfrecords(tf_schema=...) is not offered; leave it out and cast columns afterwards"
        )
    return read_files("read_tfrecords", paths, TfrecordsFormat(), options)


def read_avro(paths: Paths, **options: Unpack[FileOptions]) -> Dataset:
    """Read Avro files. Needs fastavro: `pip install 'heliostat[avro]'`.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        **options: See `FileOptions`.

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ImportError: if fastavro is not installed.
        ValueError: when it is read, if a file is no Avro.
    """
    fastavro()
    return read_files("read_avro", paths, AvroFormat(), options)


def read_orc(paths: Paths, **options: Unpack[FileOptions]) -> Dataset:
    """Read ORC files.

    Args:
        paths: A file, directory, glob or URI, or a list of them.
        **options: See `FileOptions`.

    Returns:
        A Dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: when it is read, if a file is no ORC.

    Example:
        >>> import heliostat as ray
        >>> ray.data.range(2).write_orc("stripes")
        >>> ray.data.read_orc("stripes").take_all()
        [{'id': 0}, {'id': 1}]
    """
    return read_files("read_orc", paths, orc.OrcFormat(), options, extensions=orc.EXTENSIONS)


def read_files(
    verb: str,
    paths: Paths,
    form: Format,
    options: Mapping[str, Any],
    *,
    extensions: Sequence[str] | None = None,
    partitioning: Partitioning | None = None,
) -> Dataset:
    """A dataset of files of one format.

    Args:
        verb: The reader, for errors.
        paths: What the user gave.
        form: Their format.
        options: A FileOptions.
        extensions: Which files count, if the user does not say.
        partitioning: How values are written into paths, if the user does not say.

    Returns:
        The dataset.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if there are no files, or an option makes no sense.
        TypeError: if an option is unknown.
    """
    check_names(verb, options, FileOptions)
    place = parse_place(options)
    filesystem: fs.FileSystem
    filesystem, found = find(
        paths,
        kind=form.name,
        filesystem=options.get("filesystem"),
        extensions=options.get("file_extensions", extensions),
        ignore_missing=options.get("ignore_missing_paths", False),
    )
    files = with_constants(
        found,
        options.get("partitioning", partitioning),
        options.get("partition_filter"),
        options.get("include_paths", False),
    )
    source = FileSource(
        tuple(files),
        filesystem,
        form,
        open_arguments(verb, options.get("arrow_open_stream_args")),
        min_tasks=pieces(options),
        shuffling=shuffling(options.get("shuffle")),
        on_error=of_files(options, verb, one_each=bool(form.row_columns)),
    )
    return Dataset(Read(source, place))
