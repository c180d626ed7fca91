"""The bytes of a log, plain or compressed, in blocks of whole lines and in bounded memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.opening import BrokenError, Opened

BLOCK_BYTES = 1 << 20
#: A longer line is counted as malformed, and not held in memory: nginx takes 32 KiB of headers, and logs \xHH.
MAX_LINE_BYTES = 1 << 17


class ByteStream(Protocol):
    """What is asked of a binary file: sys.stdin.buffer and io.BytesIO have it too."""

    def read1(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...
    def seekable(self) -> bool: ...


class Block(NamedTuple):
    """Some whole lines, or a piece of one line that is too long to hold, or a last line without a newline."""

    lines: bytes
    is_piece: bool = False
    is_unfinished: bool = False

    @property
    def ends_line(self) -> bool:
        return self.lines.endswith(b"\n")


class LogStream:
    """Reads a log once, front to back; `rewind` begins anew where the file can seek."""

    def __init__(self, raw: ByteStream, name: str) -> None:
        self._raw = raw
        self.name = name
        self.raw_bytes_read = 0
        self.raw_bytes_total = _size(raw)
        self._opened = Opened(self._read)

    @property
    def left_over(self) -> str:
        """What is to be said of bytes after the compressed ones, if there are any."""
        compression, passed = self._opened.compression, self._opened.bytes_after
        if compression is None or not passed:
            return ""
        return f"{passed:,} bytes after the {compression.word} ones are not {compression.word}: they were left out."

    def rewind(self) -> None:
        if not self._raw.seekable():
            raise ImportFailedError(
                f"{self.name} must be read twice, as several logs with this first line were imported, and a pipe "
                "cannot be: write it to a file and import that"
            )
        self._raw.seek(0)
        self.raw_bytes_read = 0
        self._opened = Opened(self._read)

    def blocks(self) -> Iterator[Block]:
        """Yield all lines, a last one without a newline by itself; raises ImportFailedError if the bytes break off."""
        held, in_long_line = b"", False
        filled = _Filled(self._opened.pieces())
        for read in filled:
            block = read
            if in_long_line:
                end = block.find(b"\n") + 1
                yield Block(block[: end or len(block)], is_piece=True)
                if not end:
                    continue
                block, in_long_line = block[end:], False
            block = held + block
            cut = block.rfind(b"\n") + 1
            if cut:
                yield Block(block[:cut])
            held = block[cut:]
            if len(held) > MAX_LINE_BYTES:
                yield Block(held, is_piece=True)
                held, in_long_line = b"", True
        if filled.error is not None:
            raise ImportFailedError(
                f"{self.name} cannot be read to its end ({filled.error}): what came before is imported; run this again "
                "when the file is whole"
            ) from filled.error
        if held:
            yield Block(held, is_unfinished=True)

    def _read(self) -> bytes:
        piece = self._raw.read1(1 << 16)
        self.raw_bytes_read += len(piece)
        return piece


class _Filled:
    """Joins pieces up to a block's size; an error ends it, and is kept until what came before is used."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        waiting: list[bytes] = []
        size = 0
        try:
            for piece in self._pieces:
                waiting.append(piece)
                size += len(piece)
                if size >= BLOCK_BYTES:
                    yield b"".join(waiting)
                    waiting, size = [], 0
        except (OSError, BrokenError) as error:
            self.error = error
        if waiting:
            yield b"".join(waiting)


def _size(raw: ByteStream) -> int | None:
    try:
        status = os.fstat(raw.fileno())  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
