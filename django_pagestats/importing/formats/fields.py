"""What a line's named fields say of a request, however the log calls them: JSON, W3C, and servers' own strings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo

from django_pagestats.importing.clients import is_place
from django_pagestats.importing.formats.base import Parts, method_and_target, wsgi_name
from django_pagestats.importing.times import logged_time

#: gives the value of a field as text; None where the line does not have it
Look = Callable[[str], str | None]
_NONE = ("", "-")

#: what the middleware looks at
TELLING_HEADERS = (
    *("Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Purpose", "Purpose", "X-Moz", "X-Purpose"),
    *("X-Sec-Purpose", "X-Requested-With", "X-Turbo-Request-Id", "Turbo-Frame", "X-Up-Version", "Accept"),
    *("HX-Request", "HX-Boosted", "HX-History-Restore-Request", "HX-Preloaded", "Signature-Agent"),
    *("Accept-Language", "Sec-GPC", "DNT", "Sec-CH-UA", "Sec-CH-UA-Platform", "Sec-CH-UA-Mobile"),
)
_TELLING = frozenset(map(wsgi_name, TELLING_HEADERS))


@dataclass(frozen=True)
class HeaderNames:
    """Where a log has the headers of a request; upper and lower case make no difference, as in HTTP."""

    #: the key of an object that has them
    inside: str = ""
    #: or else what is before, and after, a header in the name of its field
    prefix: str = ""
    suffix: str = ""
    #: or else each by itself: the header's name in WSGI -> the name of the field
    named: Mapping[str, str] = field(default_factory=dict)

    def wsgi_name(self, name: str) -> str:
        """The header that a field is, if it is one that tells something; else empty."""
        if not name.startswith(self.prefix) or not name.endswith(self.suffix):
            return ""
        known = wsgi_name(name[len(self.prefix) : len(name) - len(self.suffix)])
        return known if known in _TELLING else ""


@dataclass(frozen=True)
class Names:
    """The names of a log's fields, each with others that are tried after it; empty: the log has none."""

    #: of one or more fields, which are joined by a space
    time: tuple[str, ...]
    address: tuple[str, ...] = ()
    #: a whole request, as "GET /a HTTP/1.1"; or the next three
    request: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    agent: tuple[str, ...] = ()
    referrer: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    country: tuple[str, ...] = ()
    content_type: tuple[str, ...] = ()
    headers: HeaderNames = HeaderNames()

    def with_address(self, where: str) -> Names:
        """The same, with the address in a field of that name; a place in a line is no name."""
        return self if is_place(where) else replace(self, address=(where, *self.address))

    def parts(
        self, look: Look, *, zone: tzinfo | None, has: Callable[[str], bool], headers: Mapping[str, str]
    ) -> Parts | None:
        """What a line says; None for one without time, request, or status. `has`: whether the log has such a field."""
        at = self._at(look, zone)
        method, target = self._asked(look)
        status = _first(look, self.status)
        if at is None or not target or not status:
            return None
        return Parts(
            address=_first(look, self.address),
            at=at,
            method=method,
            target=target,
            status=status,
            agent=_first(look, self.agent) if any(map(has, self.agent)) else None,
            referrer=_first(look, self.referrer) if any(map(has, self.referrer)) else None,
            host=_first(look, self.host),
            country=_first(look, self.country),
            content_type=_first(look, self.content_type),
            headers=headers or None,
        )

    def _at(self, look: Look, zone: tzinfo | None) -> datetime | None:
        values = [look(name) for name in self.time]
        return None if None in values else logged_time(" ".join(map(str, values)), zone)

    def _asked(self, look: Look) -> tuple[str, str]:
        request = _first(look, self.request)
        if request:
            return method_and_target(request)
        target, query = _first(look, self.target), _first(look, self.query)
        if query and "?" not in target:
            target = f"{target}?{query.removeprefix('?')}"
        return _first(look, self.method) or ("GET" if not self.method else ""), target


def _first(look: Look, names: tuple[str, ...]) -> str:
    for name in names:
        if (value := look(name)) is not None and value not in _NONE:
            return value
    return ""
