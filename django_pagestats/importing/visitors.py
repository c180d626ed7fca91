"""Who a visitor of a log is: robot or not, and the session key of the others."""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache

from crawlerdetect import CrawlerDetect

from django_pagestats.models import SiteSecret

#: A longer user agent is a robot's; no pattern is matched on it, since patterns may be slow on long texts.
AGENT_MAX_LENGTH = 512
SECRET_NAME = "session_key"  # noqa: S105 - its name
SECRET_BYTES = 32
KEY_BYTES = 16
#: User agents whose answer is remembered: one takes about a millisecond to match.
REMEMBERED_AGENTS = 10_000


class Agents:
    """Tells robots by their user agents; remembers a bounded number of answers."""

    def __init__(self) -> None:
        self._detector = CrawlerDetect()
        self.is_robot = lru_cache(maxsize=REMEMBERED_AGENTS)(self._is_robot)

    def _is_robot(self, agent: str) -> bool:
        if not agent.strip() or agent == "-" or len(agent) > AGENT_MAX_LENGTH:
            return True
        return bool(self._detector.isCrawler(agent))  # is_crawler does not exist before 0.4


def site_secret(using: str) -> bytes:
    """The site's random key, made when first asked for; safe where two processes ask at once."""
    secret, _created = SiteSecret.objects.using(using).get_or_create(
        name=SECRET_NAME, defaults={"value": secrets.token_bytes(SECRET_BYTES)}
    )
    return bytes(secret.value)


class SessionKeys:
    """Session keys from addresses and user agents: keyed hashes, which nobody without the secret can try out."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2b(key=secret, digest_size=KEY_BYTES)

    def key(self, address: str, agent: str) -> str:
        """32 hexadecimal digits; no address can contain the NUL between the two."""
        keyed = self._keyed.copy()
        keyed.update(f"{address}\0{agent}".encode())
        return keyed.hexdigest()
