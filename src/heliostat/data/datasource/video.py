"""Films, by PyAV (FFmpeg's libraries): a row a frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from heliostat.data.block import from_batch
from heliostat.data.datasource.files import OpenFile
from heliostat.data.datasource.tables import library

__all__ = ["EXTENSIONS", "VideoFormat"]

# Ray's list; which of them can be read, FFmpeg says.
EXTENSIONS = (
    *("mp4", "mkv", "mov", "avi", "wmv", "flv", "webm", "m4v", "3gp", "mpeg", "mpg", "ts", "ogv"),
    *("rm", "rmvb", "vob", "asf", "f4v", "m2ts", "mts", "divx", "xvid", "mxf"),
)
# A block is full when its frames have as many bytes; a film does not fit into memory.
BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class VideoFormat:
    """Frames as arrays of height, width and three colours, with their numbers.

    Attributes:
        include_timestamps: Add when each begins and ends, in seconds.
        fps: About how many frames a second to keep; None keeps all.
        size: Height and width to bring them to.
    """

    include_timestamps: bool = False
    fps: int | None = None
    size: tuple[int, int] | None = None

    name = "Video"
    in_driver = False
    expansion = 50.0
    row_columns = ()
    schema = None

    def read(self, file: OpenFile, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        """Its frames, in the order in which they are seen."""
        av: Any = library("av", "video", "read_videos")
        try:
            with av.open(file.buffer()) as container:
                yield from self._blocks(container)
        except av.FFmpegError as error:
            raise ValueError(f"not a film that FFmpeg reads: {error}") from error

    def _blocks(self, container: Any) -> Iterator[pa.Table]:
        if not container.streams.video:
            raise ValueError("there are no pictures in it")
        stream = container.streams.video[0]
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        stride = max(1, round(rate / self.fps)) if self.fps and rate else 1
        height, width = self.size or (None, None)
        kept: list[tuple[int, float, Any]] = []
        size = 0
        for number, frame in enumerate(container.decode(stream)):
            if number % stride:
                continue
            pixels = frame.to_ndarray(format="rgb24", height=height, width=width)
            kept.append((number, frame.time or 0.0, pixels))
            size += pixels.nbytes
            if size >= BLOCK_BYTES:
                yield self._block(kept, rate)
                kept, size = [], 0
        if kept:
            yield self._block(kept, rate)

    def _block(self, kept: list[tuple[int, float, Any]], rate: float) -> pa.Table:
        numbers, starts, frames = zip(*kept, strict=True)
        batch = {"frame": np.stack(frames), "frame_index": np.array(numbers)}
        if self.include_timestamps:
            begin = np.array(starts)
            batch["frame_timestamp"] = np.stack([begin, begin + (1 / rate if rate else 0)], axis=1)
        return from_batch(batch, "the file")
