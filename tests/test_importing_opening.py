from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.opening import PIECE_BYTES, Opened
from django_pagestats.importing.streams import LogStream


def zstandard(plain: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        zstd = pytest.importorskip("backports.zstd")
    packed: bytes = zstd.compress(plain, options={zstd.CompressionParameter.checksum_flag: 1})
    return packed


Pack = Callable[[bytes], bytes]
PACKS: dict[str, Pack] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstandard}


def lines_of(packed: bytes) -> bytes:
    return b"".join(block.lines for block in LogStream(io.BytesIO(packed), "access.log").blocks())


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
class TestCompressions:
    @given(members=st.lists(st.binary(max_size=50), min_size=1), zeros=st.sampled_from([0, 4]))
    def test_all_that_was_packed(self, pack: Pack, members: list[bytes], zeros: int) -> None:
        packed = bytes(zeros).join(map(pack, members))
        assert lines_of(packed) == b"".join(members)

    def test_a_little_that_is_much(self, pack: Pack) -> None:
        """A bomb: nothing is uncompressed that does not fit into a piece."""
        packed = io.BytesIO(pack(bytes(64 << 20)))
        total = 0
        for piece in Opened(lambda: packed.read1(1 << 16)).pieces():
            assert len(piece) <= PIECE_BYTES
            total += len(piece)
        assert total == 64 << 20

    @pytest.mark.parametrize("how", ["cut", "damaged"])
    def test_cut_and_damaged(self, pack: Pack, how: str) -> None:
        packed = pack(b"first\n" * 9) + pack(os.urandom(300_000))
        half = len(packed) // 2
        broken = packed[:half] if how == "cut" else packed[:half] + bytes(1_000) + packed[half + 1_000 :]
        read = b""
        with pytest.raises(ImportFailedError, match="cannot be read to its end"):
            for block in LogStream(io.BytesIO(broken), "access.log").blocks():
                read += block.lines
        assert read.startswith(b"first\n" * 9)

    def test_what_comes_after_is_told(self, pack: Pack) -> None:
        stream = LogStream(io.BytesIO(pack(b"a\n") + b"more"), "access.log")
        assert b"".join(block.lines for block in stream.blocks()) == b"a\n"
        assert stream.left_over.startswith("4 bytes after the ")


def test_zstandard_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = zstandard(b"a\n")
    hidden: Any = None
    for name in ("backports", "backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, hidden)
    with pytest.raises(ImportFailedError, match=r"pip install django-pagestats\[zstd\]"):
        lines_of(packed)
