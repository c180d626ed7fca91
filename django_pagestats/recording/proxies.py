"""Whether a proxy was forgotten: then all visitors have its address, and those with one browser count as one.

Nobody sees it in the numbers, so a process looks for the signs of it while it records, and tells the owner once. Of
addresses it has keyed hashes, of two at the most, with a key that is nowhere but in its memory.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections.abc import Mapping

from django.conf import settings

from django_pagestats.conf import conf
from django_pagestats.headers.addresses import is_from_own_network, is_from_trusted_proxy
from django_pagestats.models import Notice, NoticeName
from django_pagestats.recording import notices

logger = logging.getLogger(__name__)

#: headers in which a proxy says whom it asks for
FORWARDING = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_CF_CONNECTING_IP")
#: so many page views in a row from one address or two are a sign
IN_A_ROW = 100
#: A forgotten proxy shows itself at once: so many requests of a process are looked at, and then no more.
LOOKED_AT = 10_000

WARNINGS = {
    NoticeName.FORGOTTEN_PROXY: (
        "Requests come through a proxy that PAGESTATS_TRUSTED_PROXIES does not have, so that all visitors have its"
        " address, and those with the same browser count as one. Write the address or network of the proxy there, such"
        ' as ["127.0.0.1"], ["10.0.0.0/8"], or ["unix"] behind a Unix socket; docs/recording.md has more.'
    ),
    NoticeName.FEW_ADDRESSES: (
        "A hundred page views in a row came from one address or two, so that visitors with the same browser count as"
        " one. If there is a proxy, write its address or network in PAGESTATS_TRUSTED_PROXIES, and have it send"
        " X-Forwarded-For (or name its header in PAGESTATS_ADDRESS_HEADER); docs/recording.md has more."
    ),
}


class Watch:
    """What one process has seen of proxies since it started."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._lock = threading.Lock()
        self._left = LOOKED_AT
        #: of the latest requests that have only these addresses: the addresses, hashed, the latest one last
        self._addresses: list[bytes] = []
        self._in_a_row = 0
        #: the latest of them, of one address
        self._of_one = 0

    def look(self, meta: Mapping[str, object], address: str | None) -> NoticeName | None:
        """What there is to tell of, after one more request: once, and then nothing more."""
        if self._left <= 0:
            return None
        name = self._sign(meta, address)
        with self._lock:
            if self._left <= 0:
                return None
            self._left = 0 if name else self._left - 1
        return name

    def _sign(self, meta: Mapping[str, object], address: str | None) -> NoticeName | None:
        if any(meta.get(name) for name in FORWARDING) and is_from_own_network(meta) and not is_from_trusted_proxy(meta):
            return NoticeName.FORGOTTEN_PROXY
        with self._lock:
            self._count(hashlib.blake2b((address or "").encode(), key=self._key, digest_size=16).digest())
            return NoticeName.FEW_ADDRESSES if self._in_a_row >= IN_A_ROW else None

    def _count(self, address: bytes) -> None:
        """How many of the latest requests have two addresses at the most."""
        if not self._addresses or self._addresses[-1] != address:
            if address not in self._addresses and len(self._addresses) == 2:
                self._in_a_row = self._of_one
            self._addresses = [*self._addresses[-1:], address]
            self._of_one = 0
        self._in_a_row += 1
        self._of_one += 1


_watch = Watch()


def watch(meta: Mapping[str, object], address: str | None, *, using: str | None = None) -> None:
    """Look at a request that is counted, and the address that it was counted under, for a forgotten proxy.

    Logs one warning in the life of a process, and has a notice shown. Not under DEBUG: at one's desk there is but one
    visitor.
    """
    if settings.DEBUG or (name := _watch.look(meta, address)) is None:
        return
    logger.warning(WARNINGS[name])
    notices.note(name, settings_digest=settings_digest(), using=using)


def settings_digest() -> str:
    """The settings that say who is believed: when they change, what was noticed under others is over."""
    text = repr((list(conf.TRUSTED_PROXIES), conf.ADDRESS_HEADER))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def shown(using: str) -> list[Notice]:
    """The notices that the admin shows."""
    return notices.shown(using, settings_digest())
