"""What every format of a log gives of a line, and what it is asked."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import NamedTuple

FIRST = "first"  #: the address is where the format has it
LAST_QUOTED = "last-quoted"  #: it is in the last quotes of the line, as in nginx's own "main" behind a proxy


@dataclass(frozen=True)
class Reading:
    """How a log is to be read, where its lines do not say it all."""

    #: the name of a format, or a server's own string; None: what the first lines look like
    format: str | None = None
    #: where the visitor's address is: FIRST, LAST_QUOTED, the number of a field from 1, or its name
    address: str = FIRST
    #: only what was asked of these hosts counts; empty: of any
    hosts: frozenset[str] = frozenset()
    #: of times without an offset
    time_zone: tzinfo | None = None


class Parts(NamedTuple):
    """What a line says of one request; texts as they were logged, for `Format.sent` to turn back."""

    address: str
    at: datetime
    method: str
    target: str
    status: str
    #: None: this format, or this line of it, has none
    agent: str | None = None
    referrer: str | None = None
    host: str = ""
    country: str = ""
    content_type: str = ""
    #: what tells the visitor, in place of address and agent; no log has it
    session: str = ""
    #: further headers with the names of WSGI, as they were sent; None where the format has none
    headers: Mapping[str, str] | None = None


class Format(ABC):
    """One format of one log: it may keep what it learns on the way, such as the fields of a W3C log."""

    #: what the user calls it
    name: str
    #: whether --address may be a field's name, and whether it may be a place in the line
    has_names, has_places = False, True

    @abstractmethod
    def parts(self, line: str) -> Parts | None:
        """What a line says (its bytes as Latin-1, without the newline); None if it is none of this format."""

    def sent(self, logged: str) -> bytes:
        """The bytes that the server was sent, of a text in the parts."""
        return logged.encode("latin-1", "replace")

    def sent_target(self, logged: str) -> bytes:
        """The same of the request's target, which is percent-encoded still."""
        return self.sent(logged)

    def is_whole(self, line: str) -> bool:
        """Whether a line without a newline has all that it needs, whatever is still written to it."""
        return False

    def is_comment(self, line: str) -> bool:
        """Whether the line is no request because it is about the log."""
        return False

    def pass_over(self, lines: bytes) -> None:  # noqa: B027 - most formats have nothing to learn
        """Learn what is to be known of lines that were imported before."""


_ESCAPE = re.compile(r'\\(?:x([0-9A-Fa-f]{2})|(["\\abfnrtv]))')
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}


def unescaped(logged: str) -> bytes:
    r"""What Apache and nginx were sent: they log quotes, backslashes and unprintable bytes as \", \\, \n and \xHH."""
    if "\\" in logged:
        logged = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _ESCAPED[found[2]], logged)
    return logged.encode("latin-1", "replace")


def method_and_target(request: str) -> tuple[str, str]:
    """Of "GET /a HTTP/1.1"; HTTP/0.9 has no protocol at its end."""
    method, _, rest = request.partition(" ")
    target, space, protocol = rest.rpartition(" ")
    return method, target if space and protocol.startswith("HTTP/") else rest


def wsgi_name(header: str) -> str:
    """HTTP_SEC_FETCH_DEST of Sec-Fetch-Dest."""
    return "HTTP_" + header.upper().replace("-", "_")
