"""From a line of a log to a page view, or to the reason why it is none: the same rules for all formats."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from django_pagestats.conf import conf
from django_pagestats.headers.languages import language_of
from django_pagestats.headers.navigation import Kind, kind_of
from django_pagestats.headers.robots import AGENT_MAX_LENGTH, is_robot
from django_pagestats.importing.attributes import REMEMBERED, Attributes, Origin, Pairs
from django_pagestats.importing.clients import client_of, is_private
from django_pagestats.importing.formats.base import FIRST, Parts, Reading
from django_pagestats.importing.formats.recognising import Recogniser
from django_pagestats.importing.outcomes import Skip
from django_pagestats.importing.pages import Page, page
from django_pagestats.importing.streams import MAX_LINE_BYTES
from django_pagestats.importing.visitors import SessionKeys
from django_pagestats.intake import Row

#: longer values are not remembered: they would take too much memory
_REMEMBERED_LENGTH = 512
#: an escape takes four characters, and a character has at most four bytes
_LONGEST_LOGGED_AGENT = 16 * AGENT_MAX_LENGTH
#: so much of a referrer or a query is looked at
_LONGEST = 2_048
_HTML = ("text/html", "application/xhtml+xml")
_HINTS = ("HTTP_SEC_CH_UA", "HTTP_SEC_CH_UA_PLATFORM", "HTTP_SEC_CH_UA_MOBILE")
#: addresses whose page views are counted one by one; of one that has nearly all of them that is soon enough
_COUNTED_ADDRESSES = 10_000
_SUSPICIOUS_SHARE = 0.9
_FEWEST_FOR_A_SHARE = 100

_NO_HEADERS: Mapping[str, str] = {}


class Visitor(NamedTuple):
    """Who asked, without who that is."""

    session_key: str
    is_private: bool
    attributes: Pairs
    country: str


class Agent(NamedTuple):
    """A person's user agent, as it was sent."""

    text: str
    attributes: Pairs


class LineReader:
    """Reads the lines of one log."""

    def __init__(self, secret: bytes, reading: Reading | None = None, log: Recogniser | None = None) -> None:
        self._reading = reading or Reading()
        self._log = log or Recogniser(self._reading)
        self._hosts = frozenset(map(_bare_host, self._reading.hosts))
        self._attributes = Attributes(self._reading.hosts)
        self._session_keys = SessionKeys(secret)
        self._excluded = tuple(map(re.compile, conf.EXCLUDE_PATHS))
        self._honours_gpc, self._honours_dnt = conf.HONOUR_GPC, conf.HONOUR_DNT
        self._visitor = lru_cache(maxsize=REMEMBERED)(self._any_visitor)
        self._origin = lru_cache(maxsize=REMEMBERED)(self._any_origin)
        self._agent = lru_cache(maxsize=REMEMBERED)(self._any_agent)
        self._client = lru_cache(maxsize=2 * REMEMBERED)(self._any_client)
        self._page = lru_cache(maxsize=REMEMBERED)(self._any_page)
        self._counts = _Counts()

    def page_view(self, line: str) -> Row | Skip:
        """The page view of a line (its bytes as Latin-1, without the newline), or why it is none."""
        if len(line) > MAX_LINE_BYTES:
            return Skip.MALFORMED
        parts = self._log.parts(line)
        if parts is None:
            return Skip.COMMENT if self._log.is_comment(line) else Skip.MALFORMED
        return self.of_parts(parts)

    def of_parts(self, parts: Parts) -> Row | Skip:
        """The page view of what a line, or a row of a table, says."""
        if parts.method != "GET":
            return Skip.METHOD
        if parts.status[:1] != "2" and parts.status != "304":
            return Skip.STATUS
        target = parts.target
        found = self._page(target) if len(target) <= _REMEMBERED_LENGTH else self._any_page(target)
        if isinstance(found, Skip):
            return found
        host = parts.host or found.host
        if self._hosts and _bare_host(host) not in self._hosts:
            return Skip.OTHER_HOST
        headers = parts.headers or _NO_HEADERS
        if (headers or parts.content_type) and (reason := self._left_out(headers, parts.content_type)):
            return reason
        return self._row(parts, found, host, headers)

    def _row(self, parts: Parts, found: Page, host: str, headers: Mapping[str, str]) -> Row | Skip:
        hints = tuple(headers.get(name, "") for name in _HINTS) if headers else ()
        agent = parts.agent
        if agent is not None and len(agent) > _LONGEST_LOGGED_AGENT:
            return Skip.ROBOT
        visitor = self._visitor(parts.address, agent, hints, parts.session)
        if isinstance(visitor, Skip):
            return visitor
        referrer, query = parts.referrer, found.query
        origin = self._origin(
            referrer and referrer[:_LONGEST], query[:_LONGEST], host[:_LONGEST], headers.get("HTTP_SEC_FETCH_SITE", "")
        )
        if origin.is_spam:
            return Skip.REFERRER_SPAM
        self._counts.count(parts.address, agent is None, visitor.is_private)
        attributes = self._attributes.text(
            visitor.attributes,
            origin.attributes,
            language_of(headers) if headers else "",
            host,
            parts.country or visitor.country,
        )
        return Row(found.path, visitor.session_key, parts.at, attributes)

    def _any_origin(self, logged_referrer: str | None, query: str, host: str, site: str) -> Origin:
        referrer = logged_referrer and ("" if logged_referrer == "-" else self._sent_text(logged_referrer))
        return self._attributes.origin(referrer, query, host, site)

    def _any_page(self, target: str) -> Page | Skip:
        found = page(self._log.sent_target(target))
        if isinstance(found, Page) and any(pattern.search(found.path) for pattern in self._excluded):
            return Skip.EXCLUDED_PATH
        return found

    def _any_visitor(
        self, address: str, logged_agent: str | None, hints: tuple[str, ...], session: str
    ) -> Visitor | Skip:
        """Who asked, or why nobody did."""
        agent = self._agent(logged_agent, hints)
        if agent is None:
            return Skip.ROBOT
        client, is_own, country = self._client(address)
        if session:
            key = self._session_keys.key(f"session {session}", "")  # no address has a space
        elif client:
            key = self._session_keys.key(client, agent.text)
        else:
            return Skip.NO_ADDRESS
        return Visitor(key, is_own, agent.attributes, country)

    def _any_agent(self, logged: str | None, hints: tuple[str, ...]) -> Agent | None:
        """None for a robot's. Where a format has no user agent, nobody can be told to be one."""
        if logged is None:
            return Agent("", ())
        text = self._sent_text(logged)
        if is_robot(text):
            return None
        meta = {"HTTP_USER_AGENT": text, **dict(zip(_HINTS, hints, strict=False))}
        return Agent(text, self._attributes.of_agent(meta))

    def _any_client(self, logged: str) -> tuple[str, bool, str]:
        """Whose address it is, empty for nobody's; whether that is a private one; and its country."""
        client = client_of(logged)
        return (client, is_private(client), self._attributes.country_of(client)) if client else ("", False, "")

    def _sent_text(self, logged: str) -> str:
        return self._log.sent(logged).decode(errors="replace")

    def _left_out(self, headers: Mapping[str, str], content_type: str) -> Skip | None:
        """What the middleware would say of the headers that a log has."""
        if content_type and not content_type.lower().startswith(_HTML):
            return Skip.NO_PAGE
        kind = kind_of(headers, has_accept="HTTP_ACCEPT" in headers)
        if kind is not Kind.PAGE:
            return Skip.PREFETCH if kind is Kind.PREFETCH else Skip.NO_PAGE
        if self._honours_gpc and headers.get("HTTP_SEC_GPC") == "1":
            return Skip.GPC
        if self._honours_dnt and headers.get("HTTP_DNT") == "1":
            return Skip.DNT
        return Skip.ROBOT if headers.get("HTTP_SIGNATURE_AGENT") else None

    def notes(self) -> list[str]:
        """What the user should know of the lines that were read."""
        notes = self._counts.notes(is_first=self._reading.address == FIRST)
        if self._attributes.lacks_own_hosts and "source" in self._attributes.wanted:
            notes.append(
                "Where visitors came from was not told: this log does not say which host it is of, so a referrer may be"
                " the site itself. Set PAGESTATS_OWN_HOSTS."
            )
        return notes


class _Counts:
    """Who the page views of a log came from, to see that an address is not the visitor's."""

    def __init__(self) -> None:
        self._all = self._without_agent = self._private = 0
        self._of_address: Counter[str] = Counter()

    def count(self, address: str, has_no_agent: bool, is_private: bool) -> None:
        self._all += 1
        self._without_agent += has_no_agent
        self._private += is_private
        if address in self._of_address or len(self._of_address) < _COUNTED_ADDRESSES:
            self._of_address[address] += 1

    def notes(self, *, is_first: bool) -> list[str]:
        notes = []
        if self._without_agent:
            notes.append(
                f"{self._without_agent:,} of the page views have no user agent in this log: robots among them cannot be"
                " told, and an address is a visitor."
            )
        if self._all >= _FEWEST_FOR_A_SHARE:
            most = max(self._of_address.values())
            limit = _SUSPICIOUS_SHARE * self._all
            if self._private > limit or most > limit:
                whose = "private addresses" if self._private > limit else "one address"
                share = 100 * max(self._private, most if self._private <= limit else 0) // self._all
                notes.append(
                    f"Warning: {share} % of the page views come from {whose}, such as a proxy has: visitors are then"
                    " taken for one another. " + _cure(is_first)
                )
        return notes


def _cure(is_first: bool) -> str:
    if not is_first:
        return "Is --address right?"
    return (
        "If the visitor's address is in another field, say so with --address (last-quoted, a number, a name), after"
        " deleting what was imported of this log."
    )


def _bare_host(host: str) -> str:
    """Without port, "www." and case."""
    bare = host.lower().rstrip(".")
    if not bare.startswith("["):
        bare = bare.partition(":")[0]
    return bare.removeprefix("www.")
