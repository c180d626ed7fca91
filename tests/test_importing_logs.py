from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.headers.robots import is_robot
from django_pagestats.importing import Progress, Reading, Skip, Summary, import_log
from django_pagestats.importing.lines import LineReader
from django_pagestats.importing.opening import MAGICS
from django_pagestats.importing.pages import STATIC_EXTENSIONS
from django_pagestats.importing.streams import BLOCK_BYTES, MAX_LINE_BYTES, LogStream
from django_pagestats.importing.times import event_time
from django_pagestats.importing.visitors import SessionKeys, site_secret
from django_pagestats.models import ImportSource, PageView, SiteSecret

ROOT = Path(__file__).resolve().parent.parent
REAL_LOG = ROOT.parent / "shared" / "data" / "semicomplete-access.log"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
NOON = datetime(2025, 5, 17, 12, tzinfo=timezone.utc)


def line(
    path: str = "/",
    *,
    address: str = "192.0.2.1",
    time: str = "17/May/2025:12:00:00 +0000",
    request: str | None = None,
    status: int = 200,
    agent: str | None = FIREFOX,
) -> bytes:
    """A line of a combined log; of a common one where `agent` is None."""
    request = f"GET {path} HTTP/1.1" if request is None else request
    rest = "" if agent is None else f' "https://example.com/" "{agent}"'
    return f'{address} - - [{time}] "{request}" {status} 123{rest}\n'.encode()


@pytest.fixture(autouse=True)
def all_views(settings: Any) -> None:
    """Each line is about something else here; duplicates have tests of their own (test_importing_duplicates.py)."""
    settings.PAGESTATS_DUPLICATE_SECONDS = 0


#: two page views each, of lines as servers write them
LOGS = {
    "combined": line("/a") + b"junk\n" + line("/b"),
    "common": line("/a", agent=None) + line("/b", agent=None),
    "with further fields": b"".join(line(path)[:-1] + b' "203.0.113.7, -" 0.004\n' for path in ("/a", "/b")),
    "with quotes in it": b"".join(line(path, agent=r"Mozilla/5.0 (\"X\"; Linux \\)") for path in ("/a", "/b")),
    "of Windows": b"\xef\xbb\xbf" + b"".join(line(path)[:-1] + b"\r\n" for path in ("/a", "/b")),
    "joined": b"".join(b"\xef\xbb\xbf" + line(path) for path in ("/a", "/b")),
}


def load(log: bytes, name: str = "access.log", **options: Any) -> Summary:
    return import_log(io.BytesIO(log), name=name, **options)


def paths() -> list[str]:
    return list(PageView.objects.order_by("pk").values_list("path", flat=True))


class Pipe(io.BytesIO):
    """What cannot seek, and gives few bytes at a time."""

    def seekable(self) -> bool:
        return False

    def seek(self, *args: Any) -> int:
        raise io.UnsupportedOperation

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(min(size or 1, 1_000))


class TestLine:
    """One line at a time, without a database."""

    log = LineReader(b"secret", Reading(format="combined"))

    def read(self, logged: bytes) -> Any:
        return self.log.page_view(logged.decode("latin-1").rstrip("\n"))

    def test_a_byte_order_mark_is_not_part_of_the_address(self) -> None:
        assert self.read(b"\xef\xbb\xbf" + line("/a")) == self.read(line("/a"))

    def test_combined(self) -> None:
        path, key, at, attributes = self.read(line("/a?b=c"))
        assert (path, at) == ("/a", NOON)
        assert json.loads(attributes) == {"browser": "Firefox", "device": "desktop", "system": "Linux"}
        assert key == SessionKeys(b"secret").key("192.0.2.1", FIREFOX)
        assert re.fullmatch("[A-Za-z0-9_-]{22}", key)

    def test_parameters_that_make_a_page(self, settings: Any) -> None:
        settings.PAGESTATS_QUERY = ["page", "q"]
        assert self.read(line("/a?q=b%20c&token=secret&page=2#top"))[0] == "/a?page=2&q=b+c"
        assert self.read(line("/a?token=secret"))[0] == "/a"
        assert self.read(line("/a?" + "&".join(["page=1"] * 1_001)))[0] == "/a"

    def test_common_has_no_user_agent_to_be_a_robot_by(self) -> None:
        assert self.read(line("/a", agent=None)) == ("/a", SessionKeys(b"secret").key("192.0.2.1", ""), NOON, None)

    def test_addresses_agents_and_secrets_make_the_session_key(self) -> None:
        keys = {
            self.read(line())[1],
            self.read(line(address="192.0.2.11"))[1],
            self.read(line(address="2001:db8::1"))[1],
            self.read(line(address="host.example.com"))[1],
            self.read(line(agent=FIREFOX + "1"))[1],
            SessionKeys(b"other").key("192.0.2.1", FIREFOX),
        }
        assert len(keys) == 6

    @pytest.mark.parametrize(
        ("logged", "path"),
        [
            (line(request="GET /a HTTP/2.0"), "/a"),
            (line(request="GET /a"), "/a"),
            (line(request="GET /a b HTTP/1.1"), "/a b"),
            (line(request="GET http://example.com/a?b HTTP/1.1"), "/a"),
            (line(request="GET https://example.com HTTP/1.1"), "/"),
            (line(request="GET //a//b HTTP/1.1"), "//a//b"),
            (line("/caf%C3%A9%2F%ff"), "/café/%FF"),
            (line(r"/\xC3\xA9\"\\"), '/é"\\'),
            (line(r"/\x22"), '/"'),
            (line("/café"), "/café"),
            (line("/a", agent=r"Mozilla/5.0 (\"X\"; \x22Linux\x22)"), "/a"),
            (line("/a")[:-1] + b' "203.0.113.7" 0.004\r\n', "/a"),
            (b"\xef\xbb\xbf" + line("/a"), "/a"),
            (b'192.0.2.1 - john doe [17/May/2025:12:00:00 +0000] "GET /a HTTP/1.1" 200 -\n', "/a"),
            (
                b'192.0.2.1 id joe [17/May/2025:12:00:00 +0000] "GET /a HTTP/1.1" 304 0 "-" "Mozilla/5.0 (X11; U)"\n',
                "/a",
            ),
        ],
    )
    def test_pages(self, logged: bytes, path: str) -> None:
        assert self.read(logged)[0] == path

    @pytest.mark.parametrize(
        ("logged", "reason"),
        [
            (b"\n", Skip.MALFORMED),
            (b"\xff\x00\x1f\n", Skip.MALFORMED),
            (b"example.com:80 " + line(), Skip.MALFORMED),
            (line().replace(b" -", b"", 1).replace(b" -", b"", 1), Skip.MALFORMED),
            (line(agent='odd "quotes" in it'), Skip.ROBOT),
            (line(time="31/Feb/2025:12:00:00 +0000"), Skip.MALFORMED),
            (line(time="17/May/2025:12:00:00 +9999"), Skip.MALFORMED),
            (line(time="17/May/2025:12:00:00 -0260"), Skip.MALFORMED),
            (line(time="17/Mai/2025:12:00:00 +0000"), Skip.MALFORMED),
            (line(time="17/May/2025:24:00:00 +0000"), Skip.MALFORMED),
            (line(time="17/May/2025:12:00:61 +0000"), Skip.MALFORMED),
            (line(time="01/Jan/1970:00:00:00 +0100"), Skip.MALFORMED),
            (line(time="17/May/2200:12:00:00 +0000"), Skip.MALFORMED),
            (line("/" + "a" * MAX_LINE_BYTES), Skip.MALFORMED),
            (line(request="HEAD / HTTP/1.1"), Skip.METHOD),
            (line(request="POST / HTTP/1.1"), Skip.METHOD),
            (line(request="get / HTTP/1.1"), Skip.METHOD),
            (line(request="-", status=408), Skip.METHOD),
            (line(request="", status=400), Skip.METHOD),
            (line(request=r"\x16\x03\x01", status=400), Skip.METHOD),
            (line(status=199), Skip.STATUS),
            (line(status=300), Skip.STATUS),
            (line(status=301), Skip.STATUS),
            (line(status=404), Skip.STATUS),
            (line("*"), Skip.INVALID_PATH),
            (line(request="GET "), Skip.INVALID_PATH),
            (line("/%00"), Skip.INVALID_PATH),
            (line("/" + "a" * 2_048), Skip.INVALID_PATH),
            (line("/a.css"), Skip.STATIC_FILE),
            (line("/a/b.c/FAVICON.ICO?x=/"), Skip.STATIC_FILE),
            (line("/a%2Ejs"), Skip.STATIC_FILE),
            (line(agent="-"), Skip.ROBOT),
            (line(agent=""), Skip.ROBOT),
            (line(agent="  "), Skip.ROBOT),
            (line(agent="x" * 513), Skip.ROBOT),
            (line(agent="x" * 100_000), Skip.ROBOT),
            (line(agent="Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), Skip.ROBOT),
            (line(agent="curl/8.5.0"), Skip.ROBOT),
        ],
    )
    def test_what_is_skipped(self, logged: bytes, reason: Skip) -> None:
        assert self.read(logged) is reason

    @pytest.mark.parametrize("page", ["/a.css/", "/a.css/b", "/.well-known/b", "/css", "/v1.2", "/a.html", "/a.php"])
    def test_pages_with_dots(self, page: str) -> None:
        assert self.read(line(page))[0] == page

    def test_512_characters_of_user_agent_are_matched(self) -> None:
        agent = (FIREFOX * 10)[:512]
        assert isinstance(self.read(line(agent=agent)), tuple)
        assert isinstance(self.read(line(agent="Mozilla/5.0 " + r"\xF0\x9F\x98\x80" * 500)), tuple)

    @given(
        st.datetimes(NOON.replace(1970, 1, 2, tzinfo=None), NOON.replace(2199, 12, 30, tzinfo=None)),
        st.integers(-14 * 60, 14 * 60),
    )
    def test_times(self, local: datetime, minutes: int) -> None:
        sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
        text = f"{local:%d}/{local:%b}/{local.year}:{local:%H:%M:%S} {sign}{hours:02}{rest:02}"
        assert event_time(text) == datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")

    def test_a_leap_second(self) -> None:
        assert event_time("31/Dec/2016:23:59:60 +0000") == datetime(2016, 12, 31, 23, 59, 59, tzinfo=timezone.utc)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_only_skipped(self, junk: bytes) -> None:
        assert isinstance(self.read(junk), (Skip, tuple))

    def test_no_line_takes_long(self) -> None:
        """Patterns that go back and forth would take hours."""
        size = MAX_LINE_BYTES - 100
        for junk in (b'"' * size, b"\\" * size, b'\\"' * (size // 2), b"[17/May/2025:12:00:00 +0000] " * (size // 29)):
            self.read(b"192.0.2.1 - - " + junk)
            self.read(line()[:-3] + junk)
            self.read(line(request=junk.decode()))


class TestStream:
    def read(self, raw: Any) -> tuple[bytes, bool]:
        stream = LogStream(raw, "access.log")
        blocks = list(stream.blocks())
        assert not any(block.is_unfinished for block in blocks[:-1])
        return b"".join(block.lines for block in blocks), bool(blocks) and blocks[-1].is_unfinished

    @given(st.lists(st.binary(max_size=50)), st.integers(0, 3))
    def test_all_lines_and_whether_the_last_one_ends(self, members: list[bytes], zeros: int) -> None:
        plain = b"".join(members)
        read = plain, not plain.endswith(b"\n") and bool(plain)
        gzipped = (b"\0" * zeros).join(gzip.compress(member) for member in members)
        if not plain.startswith(MAGICS):
            assert self.read(io.BytesIO(plain)) == self.read(Pipe(plain)) == read
        assert self.read(io.BytesIO(gzipped)) == self.read(Pipe(gzipped)) == read

    def test_a_line_of_gigabytes_is_not_held(self) -> None:
        """A decompression bomb: members of 16 MiB in 16 KiB each, without a newline."""

        class Bomb(io.BytesIO):
            left = 8

            def read1(self, size: int | None = -1, /) -> bytes:
                self.left -= 1
                return member if self.left >= 0 else b""

        member = gzip.compress(bytes(1 << 24))
        largest = total = 0
        for block in LogStream(Bomb(), "bomb").blocks():
            largest, total = max(largest, len(block.lines)), total + len(block.lines)
            assert block.is_piece
        assert total == 128 << 20
        assert largest <= 2 * BLOCK_BYTES + MAX_LINE_BYTES

    def test_cut_and_broken_gzip_gives_what_came_before(self) -> None:
        lines = b"".join(b"%d\n" % random.Random(1).getrandbits(64) for _ in range(200))
        whole = gzip.compress(lines) + gzip.compress(os.urandom(3_000_000) + b"\n")
        for broken in (
            whole[:1_000_000],
            whole[:1_000_000] + bytes(9) + whole[1_000_000:],
            whole[:-1],
            whole + gzip.compress(b"more")[:-1],
        ):
            read = b""
            with pytest.raises(ImportFailedError, match="cannot be read to its end"):
                for block in LogStream(io.BytesIO(broken), "access.log").blocks():
                    read += block.lines
            assert read.startswith(lines)

    @pytest.mark.parametrize("junk", [b"j", b"junk" * 100_000, b"\0\0junk", b"\x1f", b"\x1fj"])
    @pytest.mark.parametrize("raw", [io.BytesIO, Pipe])
    def test_bytes_after_the_last_gzip_member_are_left_out(self, junk: bytes, raw: type[io.BytesIO]) -> None:
        stream = LogStream(raw(gzip.compress(b"a\n") + gzip.compress(b"b\n") + junk), "access.log")
        assert b"".join(block.lines for block in stream.blocks()) == b"a\nb\n"
        assert stream.left_over.startswith(
            f"{len(junk.lstrip(bytes(1))):,} bytes after the gzipped ones are not gzipped"
        )


@pytest.mark.django_db
class TestImportLog:
    def test_bytes_after_the_last_gzip_member_are_told(self) -> None:
        summary = load(gzip.compress(line("/a")) + b"junk")
        assert summary.imported == 1
        assert "4 bytes after the gzipped ones" in summary.notes[0]

    def test_counts_by_reason(self) -> None:
        log = line("/a") + line("/b.css") + line("/c", status=404) + b"junk\n" + line("/d", agent="-") + line("/e")
        summary = load(log)
        assert paths() == ["/a", "/e"]
        assert (summary.read, summary.imported) == (6, 2)
        assert summary.skipped == {Skip.STATIC_FILE: 1, Skip.STATUS: 1, Skip.MALFORMED: 1, Skip.ROBOT: 1}
        assert summary.examples == ["line 4: 'junk'"]
        assert ImportSource.objects.get().rows_imported == 2

    def test_only_the_first_malformed_lines_are_shown_and_cut(self) -> None:
        summary = load(line() + b"".join(b"%d" % number * 1_000 + b"\n" for number in range(9)))
        assert summary.skipped[Skip.MALFORMED] == 9
        assert summary.examples == [f"line {number + 2}: '{str(number) * 200}'" for number in range(5)]

    def test_the_address_is_stored_nowhere(self) -> None:
        load(line(address="192.0.2.77"))
        for model in (PageView, ImportSource):
            assert "192.0.2.77" not in str(list(model.objects.values_list()))

    def test_the_secret_is_made_once(self) -> None:
        assert site_secret("default") == site_secret("default")
        assert len(site_secret("default")) == 32
        assert SiteSecret.objects.count() == 1

    def test_again_grown_renamed_gzipped_and_piped(self) -> None:
        log = line("/a") + line("/b")
        assert load(log).imported == 2
        assert load(log).read == 0
        assert load(gzip.compress(log), "access.log.1.gz").read == 0
        assert import_log(Pipe(log), name="-").read == 0
        grown = log + line("/c")
        summary = import_log(Pipe(gzip.compress(log) + gzip.compress(line("/c"))), name="-")
        assert (summary.read, summary.imported) == (1, 1)
        assert "line 2" in summary.notes[0]
        assert load(grown).read == 0
        assert paths() == ["/a", "/b", "/c"]
        source = ImportSource.objects.get()
        assert (source.rows_imported, source.position) == (3, str(len(grown)))

    def test_line_numbers_go_on(self) -> None:
        load(line() + line())
        assert load(line() + line() + b"junk\n").examples == ["line 3: 'junk'"]

    @settings(max_examples=30)
    @given(data=st.data())
    def test_any_growth_is_imported_once(self, data: st.DataObject) -> None:
        PageView.objects.all().delete()
        ImportSource.objects.all().delete()
        log = b"".join(data.draw(st.sampled_from([line(f"/{n}"), b"junk\n", b"\n"])) for n in range(8))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=3)))
        for cut in [*cuts, len(log)]:
            try:
                load(log[:cut])
            except ImportFailedError as error:
                assert "no access log" in str(error)
        assert paths() == re.findall(r"GET (\S+)", log.decode())

    @pytest.mark.once
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    @pytest.mark.parametrize("name", LOGS)
    def test_cut_anywhere_and_gone_on_it_is_as_imported_at_once(
        self, name: str, pack: Callable[[bytes], bytes]
    ) -> None:
        log = LOGS[name]
        load(pack(log))
        at_once = sorted(PageView.objects.values_list("path", "session_key", "viewed_at"))
        assert len(at_once) == 2
        step = 1 if pack is bytes and connection.vendor == "sqlite" else 17
        for cut in range(0, len(log) + 1, step):
            PageView.objects.all().delete()
            ImportSource.objects.all().delete()
            for part in (log[:cut], log):
                with contextlib.suppress(ImportFailedError):  # the first part has no line yet
                    load(pack(part))
            assert sorted(PageView.objects.values_list("path", "session_key", "viewed_at")) == at_once, cut
            assert ImportSource.objects.get().rows_imported == 2, cut

    def test_a_shorter_copy_that_ends_within_its_first_line_is_known(self) -> None:
        log = LOGS["with further fields"]
        load(log)
        with pytest.raises(ImportFailedError, match="is shorter than these"):
            load(log[: log.index(b"\n") - 5])
        assert len(paths()) == 2

    @pytest.mark.parametrize("agent", [FIREFOX, None])
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_the_last_line_of_a_complete_log_needs_no_newline(
        self, agent: str | None, pack: Callable[[bytes], bytes]
    ) -> None:
        log = (line("/a", agent=agent) + line("/b", agent=agent))[:-1]
        load(pack(log))
        load(pack(log), is_complete=True)
        assert paths() == ["/a", "/b"]
        assert load(pack(log), is_complete=True).read == load(pack(log)).read == load(pack(log + b"\n")).read == 0

    def test_a_complete_log_of_one_line_without_a_newline(self) -> None:
        log = line("/a", agent=None)[:-1]
        assert "--complete" in load(log).notes[0]
        assert load(log, is_complete=True).imported == 1
        assert load(log, is_complete=True).read == load(log + b"\n" + line("/b", agent=None)).read - 1 == 0
        assert paths() == ["/a", "/b"]

    @pytest.mark.parametrize("missing", [2, 40, 90])
    def test_a_line_still_being_written_is_left(self, missing: int) -> None:
        log = line("/a") + line("/b")
        summary = load(log[:-missing])
        assert summary.imported == 1
        assert "not whole yet" in summary.notes[0]
        assert load(log).imported == 1
        assert paths() == ["/a", "/b"]

    def test_of_a_common_log_nobody_knows_whether_a_line_is_whole(self) -> None:
        log = line("/a", agent=None) + line("/b", agent=None)
        assert load(log[:-1]).imported == 1
        assert load(log).imported == 1

    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_a_whole_last_line_needs_no_newline(self, pack: Callable[[bytes], bytes]) -> None:
        log = line("/a") + line("/b") + line("/c")
        ends = [len(line("/a")) - 1, 2 * len(line("/a")) - 1]
        assert load(pack(log[: ends[0]])).imported == 1
        assert load(pack(log[: ends[0]])).read == 0
        assert load(pack(log[: ends[0] + 1])).read == 0
        assert load(pack(log[: ends[1]])).imported == 1
        # what comes after the user agent belongs to the line that was imported
        log = log[: ends[1]] + b' "more" 0.123\n' + line("/c")
        assert load(pack(log[: ends[1] + 5])).read == 0
        last = load(pack(log))
        assert (last.read, last.imported) == (1, 1)
        assert paths() == ["/a", "/b", "/c"]

    @pytest.mark.parametrize("log", [b"", b"no newline", gzip.compress(b"", mtime=0)])
    def test_nothing_to_read(self, log: bytes) -> None:
        assert load(log).read == 0
        assert ImportSource.objects.count() == 0

    @pytest.mark.parametrize("log", [b"\n", b"junk\n" * 9, os.urandom(3_000_000) + b"\n"])
    def test_no_log_at_all(self, log: bytes) -> None:
        with pytest.raises(ImportFailedError, match="is no access log of a known format"):
            load(log)
        assert ImportSource.objects.count() == 0

    def test_a_log_that_begins_with_a_hole(self) -> None:
        """What copytruncate leaves if the server does not append: NULs up to where it was."""
        log = bytes(3 * BLOCK_BYTES) + line("/lost") + line("/a") + b"x" * (2 * BLOCK_BYTES) + b"\n" + line("/b")
        summary = load(log)
        assert paths() == ["/a", "/b"]
        assert summary.examples == ["line 1: longer than 128 KiB", "line 3: longer than 128 KiB"]
        assert (summary.read, summary.skipped) == (4, {Skip.MALFORMED: 2})
        assert load(log).read == 0
        assert load(log + line("/c")).imported == 1

    @pytest.mark.parametrize("stop", [len(line("/a")) + 9, 3 * BLOCK_BYTES])
    def test_the_end_of_a_long_line_is_no_line(self, stop: int) -> None:
        log = line("/a") + b"x" * (3 * BLOCK_BYTES) + line("/forged") + line("/b")
        load(log[:stop])
        load(log)
        assert paths() == ["/a", "/b"]

    def test_a_log_cut_short_by_broken_gzip_goes_on(self) -> None:
        rng = random.Random(3)
        log = b"".join(line(f"/{rng.getrandbits(60)}") for _ in range(20_000))
        packed = gzip.compress(log)
        with pytest.raises(ImportFailedError, match="cannot be read to its end"):
            load(packed[: len(packed) // 2])
        assert 0 < PageView.objects.count() < 20_000
        load(packed)
        assert paths() == re.findall(r"GET (\S+)", log.decode())

    def test_progress(self) -> None:
        seen: list[Progress] = []
        load(line() * 20_000, on_progress=seen.append)
        assert [progress.imported for progress in seen][-1] == 20_000
        assert seen == sorted(seen, key=lambda progress: progress.done)
        assert len(seen) >= 3


@pytest.mark.django_db
class TestSameFirstLine:
    first = line("/health")
    log = first + line("/a") + line("/b")
    other = first + line("/c") + line("/d") + line("/e")

    @pytest.mark.parametrize(("log", "how"), [(other, "differs within"), (log[: len(first)], "is shorter than")])
    def test_is_refused(self, log: bytes, how: str) -> None:
        load(self.log)
        with pytest.raises(ImportFailedError, match=f"{how} these.*--another-log"):
            load(log)
        assert len(paths()) == 3

    def test_another_log_has_a_place_of_its_own(self) -> None:
        load(self.log)
        assert load(self.other, is_another=True).imported == 4
        assert load(self.other, is_another=True).read == 0
        assert load(self.other).read == 0
        assert load(self.log).read == 0
        assert load(self.log + line("/f")).imported == 1
        assert load(self.other + line("/g")).imported == 1
        assert paths() == ["/health", "/a", "/b", "/health", "/c", "/d", "/e", "/f", "/g"]

    def test_another_log_that_is_shorter(self) -> None:
        load(self.other)
        assert load(self.log, is_another=True).imported == 3
        assert load(self.log + line("/f") * 9).imported == 9
        assert load(self.other).read == 0

    def test_the_furthest_import_wins(self) -> None:
        """The shorter one is a true beginning of the longer one."""
        load(self.log)
        load(self.first, is_another=True)
        assert ImportSource.objects.count() == 2
        assert load(self.log).read == 0
        assert load(self.log + line("/f")).imported == 1

    def test_a_pipe_cannot_go_back(self) -> None:
        load(self.log)
        with pytest.raises(ImportFailedError, match="write it to a file"):
            import_log(Pipe(self.other), name="-", is_another=True)

    def test_is_another_of_none_is_harmless(self) -> None:
        assert load(self.log, is_another=True).imported == 3
        assert load(self.log, is_another=True).read == 0


def at_statement(pattern: str, number: int, action: Callable[[], Any], *, after: bool = False) -> Any:
    """Do something before, or after, the `number`th statement that matches."""
    left = [number]

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        left[0] -= bool(re.match(pattern, sql))
        is_now = left[0] == 0
        if is_now:
            left[0] = -1
        if is_now and not after:
            action()
        result = execute(sql, params, many, context)
        if is_now and after:
            action()
        return result

    return connection.execute_wrapper(wrapper)


class StoppedError(Exception):
    """The process ends here."""


@pytest.mark.django_db(transaction=True)
class TestStopped:
    @pytest.mark.once
    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_position_and_page_views_are_one(self, number: int) -> None:
        """Stopped before an UPDATE of the position, be it before or after the page views of its block."""
        log = b"".join(line(f"/{number}") for number in range(20_000))

        def stop() -> None:
            raise StoppedError

        with pytest.raises(StoppedError), at_statement("UPDATE .*importsource", number, stop):
            load(log)
        assert PageView.objects.count() < 20_000
        load(log)
        assert paths() == [f"/{number}" for number in range(20_000)]

    def test_another_process_at_the_same_log(self) -> None:
        """It imports the whole log between our finding the place and our first transaction."""
        log = line("/a") + line("/b")
        load(log)
        grown = log + line("/c")
        with (
            pytest.raises(ImportFailedError, match="another process"),
            at_statement("SELECT .*sitesecret", 1, lambda: load(grown)),
        ):
            load(grown)
        assert paths() == ["/a", "/b", "/c"]

    def test_another_process_at_the_same_new_log(self) -> None:
        log = line("/a") + line("/b")
        with (
            pytest.raises(ImportFailedError, match="another process"),
            at_statement("SELECT .*sitesecret", 1, lambda: load(log)),
        ):
            load(log)
        assert paths() == ["/a", "/b"]

    def test_another_process_makes_the_secret_first(self) -> None:
        made: list[bytes] = []
        with at_statement("SELECT .*sitesecret", 1, lambda: made.append(site_secret("default")), after=True):
            assert site_secret("default") == made[0]
        assert SiteSecret.objects.count() == 1

    @pytest.mark.once
    def test_killed_inside_a_transaction(self, tmp_path: Path) -> None:
        """A real process, killed -9 by itself between its inserts and its commit."""
        log = tmp_path / "access.log"
        log.write_bytes(b"".join(line(f"/{number}") for number in range(20_000)))
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(log)],
            cwd=ROOT,
            env={**os.environ, "PAGESTATS_DB_NAME": str(connection.settings_dict["NAME"])},
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
        stored = PageView.objects.count()
        assert 0 < stored < 20_000
        with log.open("rb") as raw:
            assert import_log(raw, name="access.log").imported == 20_000 - stored
        assert paths() == [f"/{number}" for number in range(20_000)]


KILLED = """
import os, signal, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "testproject.settings"
import django
django.setup()
from django.db import connection
from django_pagestats.importing import import_log

inserts = 0
def kill_in_the_second_block(execute, sql, params, many, context):
    global inserts
    result = execute(sql, params, many, context)
    inserts += sql.startswith("INSERT INTO django_pagestats_pageview")
    if inserts == 15:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

with connection.execute_wrapper(kill_in_the_second_block), open(sys.argv[1], "rb") as raw:
    import_log(raw, name="access.log")
"""


@pytest.mark.django_db
@pytest.mark.skipif(not REAL_LOG.exists(), reason="the real log is not beside this checkout")
class TestRealLog:
    def test_as_an_independent_count_has_it(self) -> None:
        """The count splits at quotes, and shares nothing but the list of extensions and what is said of robots."""
        expected, pages = Counter[str](), Counter[str]()
        visitors = set()
        for logged in REAL_LOG.read_text(encoding="latin-1").splitlines():
            parts = logged.split('"')
            if len(parts) != 7:
                expected["malformed"] += 1
                continue
            method, target = parts[1].split(" ")[:2]
            status, path = int(parts[2].split()[0]), target.split("?")[0].split("#")[0]
            if method != "GET":
                expected["method"] += 1
            elif status not in (*range(200, 300), 304):
                expected["status"] += 1
            elif "." in path and path.split(".")[-1].lower() in STATIC_EXTENSIONS:
                expected["static file"] += 1
            elif is_robot(parts[5]):
                expected["robot"] += 1
            else:
                pages[path] += 1
                visitors.add((logged.split()[0], parts[5]))
        with REAL_LOG.open("rb") as raw:
            summary = import_log(raw, name=REAL_LOG.name)
        assert (summary.read, summary.imported) == (10_000, sum(pages.values()))
        assert {reason.value: count for reason, count in summary.skipped.items()} == expected
        assert len([path for path in pages if "%" not in path]) > 100
        stored = Counter(paths())
        assert {path: stored[path] for path in pages if "%" not in path} == {
            path: count for path, count in pages.items() if "%" not in path
        }
        assert PageView.objects.values("session_key").distinct().count() == len(visitors)
        assert PageView.objects.order_by("viewed_at")[0].viewed_at.date().isoformat() == "2015-05-17"

    def test_again_and_gzipped_adds_nothing(self) -> None:
        log = REAL_LOG.read_bytes()
        assert load(log).imported > 1_000
        assert load(log).read == 0
        assert load(gzip.compress(log), "access.log.1.gz").read == 0
