"""Spill: the file on disk that objects move to, and the thread that moves their bytes.

The file has no name from its birth (O_TMPFILE), so nothing is left behind however the session
ends; one descriptor serves all objects. What moves is decided by `memory.Memory`; whoever reads
the hub's sockets hears of what was moved through an eventfd.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
import zlib
from queue import SimpleQueue

from heliostat import _faults
from heliostat._engines.local.messages import Read, ReadIn, Truncate, WriteOut, Written
from heliostat._engines.local.objects.store import Store
from heliostat.exceptions import ObjectStoreFullError, OutOfDiskError

_PIECE = 8 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Move = WriteOut | ReadIn | Truncate


def nameless_file(directory: str) -> int:
    """A new file in the directory that vanishes when it is closed, even by a crash."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    fd, path = tempfile.mkstemp(prefix="heliostat-", dir=directory)
    os.unlink(path)
    return fd


class Spill:
    """Moves objects between shared memory and a file, one after the other.

    Args:
        store: The mapped segment.
        directory: Where the file is; the directory for temporary files when empty. Made if it
            is missing, once something is written.
    """

    def __init__(self, store: Store, directory: str) -> None:
        self._store = store
        self._directory = directory or tempfile.gettempdir()
        self._file = -1
        self._done: SimpleQueue[Written | Read] = SimpleQueue()
        self._moves: SimpleQueue[Move | None] = SimpleQueue()
        self._ended = False
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._work, name="heliostat-spill", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Readable when something was moved."""
        return self._event

    def move(self, move: Move) -> None:
        """Do this when what was asked for before is done."""
        self._moves.put(move)

    def done(self) -> list[Written | Read]:
        """What was moved since."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event)
        return [self._done.get() for _ in range(self._done.qsize())]

    def _work(self) -> None:
        while (move := self._moves.get()) is not None:
            if self._ended:
                continue
            if type(move) is WriteOut:
                self._tell(self._write(move))
            elif type(move) is ReadIn:
                self._tell(self._read(move))
            elif self._file >= 0 and self._moves.empty():
                os.ftruncate(self._file, 0)

    def _tell(self, event: Written | Read) -> None:
        self._done.put(event)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._event, 1)

    def _write(self, move: WriteOut) -> Written:
        checksum = 0
        try:
            self._open()
            _faults.point("spill.allocate")
            os.posix_fallocate(self._file, move.slot, move.size)
            for start in range(0, move.size, _PIECE):
                if self._ended:
                    break
                size = min(_PIECE, move.size - start)
                with self._store.piece(move.offset + start, size) as piece:
                    checksum = zlib.crc32(piece, checksum)
                    _faults.point("spill.write")
                    _write_all(self._file, piece, move.slot + start)
        except OSError as error:
            return Written(move.id, 0, self._explain(error, move.size))
        return Written(move.id, checksum, None)

    def _open(self) -> None:
        if self._file < 0:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            _faults.point("spill.open")
            self._file = nameless_file(self._directory)

    def _explain(self, error: OSError, size: int) -> Exception:
        if error.errno in _FULL:
            return OutOfDiskError(
                f"shared memory is full, and {self._directory} has no room to move a value of "
                f"{size:,} bytes to ({self._free()} bytes are free): {error.strerror}. Make room "
                "there, drop references, or init(object_spilling_directory=...) with another place"
            )
        return ObjectStoreFullError(
            f"shared memory is full, and a value of {size:,} bytes could not be moved to "
            f"{self._directory}: {error.strerror}; init(object_spilling_directory=...) names "
            "another place"
        )

    def _free(self) -> str:
        try:
            stat = os.statvfs(self._directory)
        except OSError:
            return "an unknown number of"
        return f"{stat.f_bavail * stat.f_frsize:,}"

    def _read(self, move: ReadIn) -> Read:
        checksum, buffer = 0, bytearray(min(_PIECE, move.size))
        try:
            for start in range(0, move.size, _PIECE):
                if self._ended:
                    break
                size = min(_PIECE, move.size - start)
                with memoryview(buffer)[:size] as piece:
                    _faults.point("spill.read")
                    _read_all(self._file, piece, move.slot + start)
                    checksum = zlib.crc32(piece, checksum)
                    self._store.write_fresh(move.offset + start, piece)
        except (OSError, ObjectStoreFullError) as error:
            return Read(move.id, error)
        if checksum != move.checksum:
            return Read(move.id, OSError(errno.EIO, "its bytes on disk are not what was written"))
        return Read(move.id, None)

    def close(self) -> None:
        """Stop as soon as may be, and let the file go."""
        self._ended = True
        self._moves.put(None)
        self._thread.join()
        self.abandon()

    def abandon(self) -> None:
        """Close the descriptors; the thread is not in this process, or has ended."""
        os.close(self._event)
        if self._file >= 0:
            os.close(self._file)


def _write_all(fd: int, piece: memoryview, position: int) -> None:
    done = 0
    while done < len(piece):
        done += os.pwrite(fd, piece[done:], position + done)


def _read_all(fd: int, piece: memoryview, position: int) -> None:
    done = 0
    while done < len(piece):
        count = os.preadv(fd, [piece[done:]], position + done)
        if not count:
            raise OSError(errno.EIO, "the file on disk is shorter than what was written")
        done += count
