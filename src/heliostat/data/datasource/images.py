"""Pictures, by Pillow: one row a file, in a column `image`."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_batch, require_columns
from heliostat.data.datasource.datasink import RowBasedFileDatasink
from heliostat.data.datasource.files import OpenFile

__all__ = ["EXTENSIONS", "ImageDatasink", "ImageFormat"]

EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "gif")


def pillow() -> Any:
    """Pillow's `Image`.

    Returns:
        The module.

    Raises:
        ImportError: if it is not installed; says what to install.
    """
    try:
        from PIL import Image  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise ImportError("images need Pillow: pip install 'heliostat[data]'") from error
    return Image


@dataclass(frozen=True)
class ImageFormat:
    """Pictures as arrays of height, width and, if there are several, channels."""

    size: tuple[int, int] | None = None
    mode: str | None = None

    name = "Image"
    in_driver = False
    expansion = 6.0
    row_columns = ("image",)
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Its pixels."""
        image = pillow().open(file.buffer())
        if self.size is not None:
            height, width = self.size
            image = image.resize((width, height), resample=pillow().Resampling.BILINEAR)
        if self.mode is not None:
            image = image.convert(self.mode)
        yield from_batch({"image": np.asarray(image)[np.newaxis]}, "the file")


class ImageDatasink(RowBasedFileDatasink):
    """Writes a column of arrays as pictures.

    Args:
        path: The directory.
        column: Which.
        file_format: Of Pillow, such as `png`.
        **options: Of every sink of files.
    """

    tells_packing = False

    def __init__(self, path: Any, column: str, file_format: str, **options: Any) -> None:
        super().__init__(path, file_format=file_format, **options)
        self._column = column
        kinds = pillow().registered_extensions()
        if f".{file_format.lower()}" not in kinds:
            raise ValueError(f"file_format={file_format!r} is none that Pillow writes")
        self._kind = kinds[f".{file_format.lower()}"]

    def write_row_to_file(self, row: dict[str, Any], file: Any) -> None:
        """Write a picture."""
        require_columns([self._column], list(row), "write_images")
        content = io.BytesIO()
        try:
            pillow().fromarray(np.asarray(row[self._column])).save(content, format=self._kind)
        except (TypeError, ValueError, IndexError, OSError) as error:
            shape = np.asarray(row[self._column]).shape
            raise ValueError(
                f"column {self._column!r} holds an array of shape {shape} that is no "
                f"{self._kind} picture: {error}"
            ) from error
        file.write(content.getvalue())
