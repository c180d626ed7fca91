"""Which format a log is in, and what is before each of its lines: its first line that is of any format says it."""

from __future__ import annotations

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing import formats
from django_pagestats.importing.clients import is_place, picker
from django_pagestats.importing.formats.base import Format, Parts, Reading
from django_pagestats.importing.formats.prefixes import PREFIXES, Strip


class Recogniser:
    """Reads the lines of one log, in the format that the user named or that the first line shows.

    A log that grows is read as before, for what its first lines were they stay.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._format: Format | None = None
        self._strip: Strip | None = None
        self._prefix = ""
        self._pick = picker(reading.address) if is_place(reading.address) else None
        self._named = formats.named(reading) if reading.format else None

    @property
    def name(self) -> str:
        """What the log is in; empty while nobody knows."""
        if self._format is None:
            return ""
        return f"{self._format.name}, {self._prefix}" if self._prefix else self._format.name

    def parts(self, line: str) -> Parts | None:
        """What a line says; None if it is none of the log's format."""
        if self._format is None and not self._recognise(line):
            return None
        format_ = self._format
        assert format_ is not None  # noqa: S101 - it was just recognised
        bare = line if self._strip is None else self._strip(line) or ""
        parts = format_.parts(bare)
        if parts is None or self._pick is None:
            return parts
        picked = self._pick(bare).strip()
        return parts if picked in ("", "-") else parts._replace(address=picked)

    def is_comment(self, line: str) -> bool:
        """Whether a line that says of no request is one about the log."""
        return self._format is not None and self._format.is_comment(line)

    def sent(self, logged: str) -> bytes:
        """The bytes that the server was sent, of a text in the parts."""
        return logged.encode(errors="replace") if self._format is None else self._format.sent(logged)

    def sent_target(self, logged: str) -> bytes:
        """The same of the target of the request."""
        return logged.encode(errors="replace") if self._format is None else self._format.sent_target(logged)

    def pass_over(self, lines: bytes) -> None:
        """Learn what the lines after these cannot be read without: they were imported before."""
        if self._format is None:
            for line in lines.decode("latin-1").split("\n"):
                if self._recognise(line):
                    break
        if self._format is not None:
            self._format.pass_over(lines)

    def is_whole(self, line: bytes) -> bool:
        """Whether a line without a newline can be counted, whatever is still written to it."""
        text = line.decode("latin-1")
        if self._format is None and not self._recognise(text):
            return False
        format_ = self._format
        return format_ is not None and self._strip is None and self._pick is None and format_.is_whole(text)

    def _recognise(self, line: str) -> bool:
        """Take the format that a line is in, bare or after a prefix, if it is one."""
        for prefix, strip in (("", None), *PREFIXES.items()):
            bare = line if strip is None else strip(line)
            if bare is not None and (found := self._format_of(bare)) is not None:
                self._check_address(found)
                self._format, self._strip, self._prefix = found, strip, prefix
                return True
        return False

    def _check_address(self, found: Format) -> None:
        where = self._reading.address
        if not is_place(where) and not found.has_names:
            raise ImportFailedError(
                f"--address {where}: the fields of this format ({found.name}) have no names; say first, last-quoted, or"
                " the number of the field"
            )
        if self._pick is not None and not found.has_places:
            raise ImportFailedError(
                f"--address {where} is for lines of text: this is {found.name}, so give the name of the field"
            )

    def _format_of(self, line: str) -> Format | None:
        named = self._named
        if named is None:
            return formats.recognised(line, self._reading)
        return named if named.parts(line) is not None or named.is_comment(line) else None
