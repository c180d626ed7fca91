"""Importing an access log: recognise it, go on where an earlier import ended, store its page views."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain

from django.db import router
from django.db.models import Q

from django_pagestats.conf import conf
from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing import positions
from django_pagestats.importing.duplicates import Duplicates
from django_pagestats.importing.formats import Reading, is_directive, lasting
from django_pagestats.importing.formats.recognising import Recogniser
from django_pagestats.importing.lines import LineReader
from django_pagestats.importing.outcomes import OnProgress, Progress, Skip, Summary
from django_pagestats.importing.policies import ImportedPolicy
from django_pagestats.importing.streams import Block, ByteStream, LogStream
from django_pagestats.importing.visitors import site_secret
from django_pagestats.intake import SHOWN_LENGTH, Row
from django_pagestats.models import ImportSource, PageView


def import_log(
    raw: ByteStream,
    *,
    name: str,
    using: str | None = None,
    reading: Reading | None = None,
    is_another: bool = False,
    is_complete: bool = False,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Store the page views of an access log, plain or compressed, that no earlier import has stored.

    `raw` is a binary stream at its beginning, `name` what to call it. A block of about a MiB of lines and the new
    position are stored in one durable transaction; an error or a kill keeps what was stored, and running it again goes
    on from there. `reading` says what the lines do not: docs/importing.md. `is_another` says that the log only begins
    with the same line as an imported one, `is_complete` that nothing more is written to it: its last line is then taken
    as it is, with or without a newline.
    Raises ImportFailedError and the database's errors.
    """
    alias = using or router.db_for_write(PageView)
    log = _Log(LogStream(raw, name), alias, reading or Reading(), is_complete=is_complete, on_progress=on_progress)
    log.find_place(is_another=is_another)
    log.store_rest()
    return log.summary


class _Trail:
    """The length and the digest of all uncompressed bytes so far."""

    def __init__(self) -> None:
        self.position = 0
        self.line_count = 0
        self.is_within_line = False
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def follow(self, read: bytes) -> None:
        self._hash.update(read)
        self.position += len(read)
        self.line_count += read.count(b"\n")
        if read:
            self.is_within_line = not read.endswith(b"\n")


class _Log:
    """One import of one log."""

    def __init__(
        self, stream: LogStream, using: str, reading: Reading, *, is_complete: bool, on_progress: OnProgress | None
    ) -> None:
        self.summary = Summary()
        self._reading = reading
        self._is_complete = is_complete
        self._stream = stream
        self._using = using
        self._on_progress = on_progress
        self._begin()

    def _begin(self) -> None:
        self._blocks: Iterator[Block] = self._stream.blocks()
        self._trail = _Trail()
        self._log = Recogniser(self._reading)

    def find_place(self, *, is_another: bool) -> None:
        """Go to where an earlier import of this log ended, or stay at the beginning."""
        first_line = self._read_first_line()
        known = self._known(first_line) if first_line else []
        place = self._last_match(known)
        if known and place is None and not is_another:
            raise ImportFailedError(self._unlike(known))
        if known:
            self._go_to(int(place.position) if place else 0)
        elif self._trail.position:
            self._count_long_line(1)
        number = f":{len(known) + 1}" if known else ""
        self._has_first_line = bool(first_line)
        self._source = place or ImportSource(key=f"log:{first_line}{number}")
        self._source.name = self._stream.name[-255:]
        if place:
            ended_after = self._trail.line_count + self._trail.is_within_line
            self.summary.went_on = True
            self.summary.notes.append(f"An earlier import ended after line {ended_after}: went on from there.")

    def _read_first_line(self) -> str:
        """The SHA-256 of what lasts of the first line; empty where there is none yet, and nothing can be stored.

        A line too long to hold is passed over, another one stays to be read.
        """
        long_line = hashlib.sha256()
        for block in self._blocks:
            line, newline, _ = _first_own_line(block.lines).partition(b"\n")
            if not block.is_piece:
                self._blocks = chain([block], self._blocks)
                lasts = lasting(line) or (line if newline or self._is_complete else b"")
                return hashlib.sha256(lasts).hexdigest() if lasts or newline else ""
            long_line.update(line)
            self._trail.follow(block.lines)
            if newline:
                break
        return long_line.hexdigest() if self._trail.position else ""

    def _known(self, first_line: str) -> list[ImportSource]:
        """The logs with this first line that were imported, the one that has come furthest last."""
        same = Q(key=f"log:{first_line}") | Q(key__startswith=f"log:{first_line}:")
        return sorted(ImportSource.objects.using(self._using).filter(same), key=lambda source: int(source.position))

    def _last_match(self, known: list[ImportSource]) -> ImportSource | None:
        """The furthest import whose bytes this log begins with."""
        found = None
        for source in known:
            if not self._follow_to(int(source.position)):
                break
            if self._trail.digest == source.digest:
                found = source
        return found

    def _follow_to(self, position: int) -> bool:
        """Pass over what is before the position; False if the log is shorter."""
        while self._trail.position < position:
            block = next(self._blocks, None)
            if block is None:
                return False
            missing = position - self._trail.position
            if len(block.lines) > missing:
                self._blocks = chain([block._replace(lines=block.lines[missing:])], self._blocks)
            self._trail.follow(block.lines[:missing])
            if not block.is_piece:
                self._log.pass_over(block.lines[:missing])
            self._report()
        return True

    def _go_to(self, position: int) -> None:
        if self._trail.position != position:
            self._stream.rewind()
            self._begin()
            self._follow_to(position)

    def _unlike(self, known: list[ImportSource]) -> str:
        source = known[-1]
        how = "is shorter than" if self._trail.position < int(source.position) else "differs within"
        return (
            f"{self._stream.name} begins with the same line as {source.name}, of which {source.position} bytes were "
            f"imported, but {how} these: lines that were imported cannot be told from new ones. If it is another log, "
            "say so with --another-log; if it is that log, cut or edited, import the whole one"
        )

    def store_rest(self) -> None:
        """Store what is from here to the end of the last whole line."""
        self._reader = LineReader(site_secret(self._using), self._reading, self._log)
        self._policy = ImportedPolicy(self._using)
        self._duplicates = Duplicates(conf.DUPLICATE_SECONDS, self._using)
        for block in self._blocks:
            lines = self._without_counted_line(block)
            if block.is_unfinished and not self._may_take(lines):
                break
            line_number = self._trail.line_count + 1
            self._trail.follow(lines)
            if not block.is_piece:
                self._store(self._page_views(lines + b"\n" if block.is_unfinished else lines, line_number))
            elif block.ends_line:
                self._count_long_line(line_number)
                self._store([])
        self._end()

    def _end(self) -> None:
        if left_over := self._stream.left_over:
            self.summary.notes.append(left_over)
        if self.summary.read and not self._is_a_log:
            raise ImportFailedError(
                f"{self._stream.name} is no access log of a known format: none of its {self.summary.read} lines is "
                f"({self.summary.examples[0]}). Say with --format which it is, or give the server's own string for it"
            )
        self.summary.format = self._log.name
        self.summary.notes += self._reader.notes()

    def _may_take(self, last_line: bytes) -> bool:
        """Whether a last line without a newline is counted now; empty: it was counted before it grew."""
        if last_line and not self._is_complete and not (self._has_first_line and self._log.is_whole(last_line)):
            self.summary.notes.append(
                "The last line is not whole yet: it was left for the next import. If nothing more is written to this "
                "log, --complete takes it as it is."
            )
            return False
        return bool(last_line)

    def _without_counted_line(self, block: Block) -> bytes:
        """The block without the end of a line that was imported before it had a newline."""
        if block.is_piece or not self._trail.is_within_line:
            return block.lines
        end = block.lines.find(b"\n") + 1 or len(block.lines)
        self._trail.follow(block.lines[:end])
        return block.lines[end:]

    def _page_views(self, lines: bytes, line_number: int) -> list[Row]:
        page_views: list[Row] = []
        read = lines.decode("latin-1").split("\n")[:-1]
        for line in read:
            outcome = self._reader.page_view(line)
            if isinstance(outcome, tuple):
                if self._duplicates.is_first(outcome):
                    page_views.append(outcome)
                else:
                    self.summary.skipped[Skip.DUPLICATE] += 1
            elif outcome is Skip.MALFORMED:
                shown = line[:SHOWN_LENGTH].encode("latin-1").decode(errors="replace")
                self.summary.skip(Skip.MALFORMED, f"line {line_number}: {shown!r}")
            else:
                self.summary.skipped[outcome] += 1
            line_number += 1
        self.summary.read += len(read)
        return page_views

    def _count_long_line(self, line_number: int) -> None:
        self.summary.read += 1
        self.summary.skip(Skip.MALFORMED, f"line {line_number}: longer than 128 KiB")

    @property
    def _is_a_log(self) -> bool:
        """Whether any line was understood, now or in an earlier import; before that nothing is stored."""
        return not self._source._state.adding or self.summary.read > self.summary.skipped[Skip.MALFORMED]

    def _store(self, page_views: list[Row]) -> None:
        if self._is_a_log:
            self.summary.imported += positions.advance(
                self._source,
                page_views,
                policy=self._policy,
                position=str(self._trail.position),
                digest=self._trail.digest,
                using=self._using,
            )
            self._duplicates.stored()
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            stream = self._stream
            self._on_progress(Progress(stream.raw_bytes_read, stream.raw_bytes_total, self.summary.imported))


def _first_own_line(lines: bytes) -> bytes:
    """Without what all logs of one server begin with: the directives of a W3C log."""
    while lines.startswith((b"#", b"\xef\xbb\xbf#")):
        line, newline, rest = lines.partition(b"\n")
        if not newline or not is_directive(line.decode("latin-1")):
            break
        lines = rest
    return lines
