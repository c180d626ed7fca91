"""The attributes of imported page views: those of PAGESTATS_ATTRIBUTES that a line tells, as recording has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings

from django_pagestats.conf import conf
from django_pagestats.headers import countries
from django_pagestats.headers.agents import families
from django_pagestats.headers.sources import DIRECT, host_of, is_spam, origin_of
from django_pagestats.intake import attributes_text

#: a hashable dict
Pairs = tuple[tuple[str, str], ...]
#: answers that are remembered of what repeats in a log
REMEMBERED = 10_000


class Origin(NamedTuple):
    """Where a page view came from."""

    is_spam: bool
    attributes: Pairs


SPAM = Origin(is_spam=True, attributes=())


class Attributes:
    """What is recorded of one log's lines, by the settings as they are when it is opened."""

    def __init__(self, hosts: Collection[str] = ()) -> None:
        self.wanted = frozenset(conf.ATTRIBUTES)
        self._records_host = conf.RECORD_HOST and "host" in self.wanted
        self._own_hosts = frozenset(hosts) | {host for host in settings.ALLOWED_HOSTS if host != "*"}
        self._has_country_file = (
            "country" in self.wanted and conf.COUNTRY is not None and countries.is_file(conf.COUNTRY)
        )
        #: whether arrivals could not be told, as nothing says which hosts are the site's own
        self.lacks_own_hosts = False
        self.text = lru_cache(maxsize=REMEMBERED)(self._text)

    def of_agent(self, meta: Mapping[str, str]) -> Pairs:
        """Browser, system and device, by the agent and the client hints."""
        found = families(meta)._asdict().items()
        return tuple((name, value) for name, value in found if value and name in self.wanted)

    def country_of(self, client: str) -> str:
        """By the file of PAGESTATS_COUNTRY, if it is one."""
        return countries.country_of_address(client) if self._has_country_file else ""

    def origin(self, referrer: str | None, query: str, host: str, site: str) -> Origin:
        """`referrer` None: the log has none, so that only the query tells; `site` is Sec-Fetch-Site."""
        own_hosts = self._own_hosts | {host} if host else self._own_hosts
        knows_own = bool(own_hosts or conf.OWN_HOSTS or site)
        if referrer is not None and not knows_own:
            self.lacks_own_hosts = True
            if is_spam(host_of(referrer)):
                return SPAM
        if referrer is None or not knows_own:
            found = origin_of({}, query=query, own_hosts=(), referrer="").attributes
            if found.get("source") == DIRECT:
                del found["source"]
            return Origin(is_spam=False, attributes=self._only_wanted(found))
        meta = {"HTTP_REFERER": referrer, "HTTP_SEC_FETCH_SITE": site}
        origin = origin_of(meta, query=query, own_hosts=own_hosts, referrer=None)
        return SPAM if origin.is_spam else Origin(is_spam=False, attributes=self._only_wanted(origin.attributes))

    def _only_wanted(self, found: Mapping[str, str]) -> Pairs:
        return tuple((name, value) for name, value in found.items() if name in self.wanted)

    def _text(self, agent: Pairs, origin: Pairs, language: str, host: str, country: str) -> str | None:
        """The JSON of all of it together, as `intake.attributes_text` has it."""
        found = dict(agent + origin)
        if language and "language" in self.wanted:
            found["language"] = language
        if self._records_host and (name := host_of(f"http://{host}")):
            found["host"] = name
        if "country" in self.wanted and (code := countries.code_of(country)):
            found["country"] = code
        return attributes_text(found)
