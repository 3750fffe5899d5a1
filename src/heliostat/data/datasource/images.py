"""Pictures, by Pillow: one row a file, in a column `image`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_batch
from heliostat.data.datasource.files import OpenFile

__all__ = ["EXTENSIONS", "ImageFormat"]

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
    one_row = True
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
