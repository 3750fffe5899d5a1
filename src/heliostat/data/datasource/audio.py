"""Sound, by soundfile: one row a file, its samples by channel and how many there are a second."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_batch
from heliostat.data.datasource.files import OpenFile
from heliostat.data.datasource.tables import library

__all__ = ["EXTENSIONS", "AudioFormat"]

# Ray's list; which of them can be read, libsndfile says.
EXTENSIONS = (
    *("mp3", "wav", "aac", "flac", "ogg", "m4a", "wma", "alac", "aiff", "pcm", "amr", "opus"),
    *("ra", "rm", "au", "mid", "midi", "caf"),
)


@dataclass(frozen=True)
class AudioFormat:
    """Files of sound as arrays of channels and samples, from -1 to 1."""

    name = "Audio"
    in_driver = False
    expansion = 8.0
    row_columns = ("amplitude", "sample_rate")
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Its samples and their rate."""
        sound: Any = library("soundfile", "audio", "read_audio")
        try:
            samples, rate = sound.read(file.buffer(), always_2d=True, dtype="float32")
        except sound.LibsndfileError as error:
            raise ValueError(f"not sound that libsndfile reads: {error}") from error
        channels = np.ascontiguousarray(samples.T)[np.newaxis]
        yield from_batch({"amplitude": channels, "sample_rate": np.array([rate])}, "the file")
