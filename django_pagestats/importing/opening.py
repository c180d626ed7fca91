"""The bytes of a log that may be compressed: gzip, bzip2, xz, Zstandard, seen from its first bytes."""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, Protocol

from django_pagestats.exceptions import ImportFailedError

#: So much is uncompressed at a time, however well it was compressed.
PIECE_BYTES = 1 << 20
_GZIP_WINDOW = 16 + zlib.MAX_WBITS

Read = Callable[[], bytes]


class BrokenError(Exception):
    """The compressed bytes are damaged, or end too early."""


class _Decoder(Protocol):
    """What the decoders of the standard library have, but for zlib's."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class Compression(NamedTuple):
    """One way of compressing."""

    #: what the first bytes of each part are; a file may have several parts, as `cat a.gz b.gz` makes it
    magics: tuple[bytes, ...]
    #: what something compressed so is called
    word: str
    decoder: Callable[[], _Decoder]


class _Gzip:
    """zlib's decoder, with the face of the others."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(_GZIP_WINDOW)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


def _zstandard() -> _Decoder:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise ImportFailedError(
            "a log compressed by Zstandard needs Python 3.14, or: pip install django-pagestats[zstd]"
        ) from error
    decoder: _Decoder = zstd.ZstdDecompressor()
    return decoder


_COMPRESSIONS = (
    Compression((b"\x1f\x8b",), "gzipped", _Gzip),
    Compression((b"BZh",), "compressed by bzip2", bz2.BZ2Decompressor),
    Compression((b"\xfd7zXZ\x00",), "compressed by xz", lzma.LZMADecompressor),
    # the others are frames to be passed over, which tools put before and between
    Compression(
        (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + n,)) + b"\x2a\x4d\x18" for n in range(16))),
        "compressed by Zstandard",
        _zstandard,
    ),
)
#: what compressed bytes begin with
MAGICS = tuple(magic for compression in _COMPRESSIONS for magic in compression.magics)
_LONGEST_MAGIC = max(map(len, MAGICS))


class Opened:
    """Uncompressed pieces of what `read` gives, until it gives nothing."""

    def __init__(self, read: Read) -> None:
        self._read = read
        #: the compression, once that is known, if there is one
        self.compression: Compression | None = None
        #: of what follows the last compressed part and is none itself
        self.bytes_after = 0

    def pieces(self) -> Iterator[bytes]:
        """Raises BrokenError and ImportFailedError."""
        head = b""
        while len(head) < _LONGEST_MAGIC and (piece := self._read()):
            head += piece
        self.compression = next((known for known in _COMPRESSIONS if head.startswith(known.magics)), None)
        yield from self._plain(head) if self.compression is None else self._parts(head, self.compression)

    def _plain(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            yield piece
            piece = self._read()

    def _parts(self, piece: bytes, compression: Compression) -> Iterator[bytes]:
        """Parts may follow one another, with zeros between; other bytes after one are passed over, as gzip does."""
        while piece.startswith(compression.magics):
            piece = self._after_zeros((yield from self._part(piece, compression)), compression)
        while piece:
            self.bytes_after += len(piece)
            piece = self._read()

    def _after_zeros(self, piece: bytes, compression: Compression) -> bytes:
        """What follows, enough of it to see whether it is another part."""
        enough = max(map(len, compression.magics))
        while len(piece := piece.lstrip(b"\0")) < enough and (more := self._read()):
            piece += more
        return piece

    def _part(self, piece: bytes, compression: Compression) -> Generator[bytes, None, bytes]:
        """Yield what is in one part; gives the bytes after it that were read already."""
        decoder = compression.decoder()
        while not decoder.eof:
            if decoder.needs_input and not piece and not (piece := self._read()):
                raise BrokenError(f"what is {compression.word} ends too early")
            try:
                yield decoder.decompress(piece, PIECE_BYTES)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                raise BrokenError(str(error)) from error
            except Exception as error:
                if type(error).__name__ != "ZstdError":  # which is nowhere where there is no Zstandard
                    raise
                raise BrokenError(str(error)) from error
            piece = b""
        return decoder.unused_data
