"""The session keys of imported page views: keyed hashes of address and user agent."""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode

from django_pagestats.models import SiteSecret

SECRET_NAME = "session_key"  # noqa: S105 - its name
SECRET_BYTES = 32
KEY_BYTES = 16


def site_secret(using: str) -> bytes:
    """The site's random key, made when first asked for; safe where two processes ask at once."""
    secret, _created = SiteSecret.objects.using(using).get_or_create(
        name=SECRET_NAME, defaults={"value": secrets.token_bytes(SECRET_BYTES)}
    )
    return bytes(secret.value)


class SessionKeys:
    """Session keys from addresses and user agents, which nobody without the secret can try out."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = hashlib.blake2b(key=secret, digest_size=KEY_BYTES)

    def key(self, address: str, agent: str) -> str:
        """22 characters of URL-safe base64; no address can contain the NUL between the two."""
        keyed = self._keyed.copy()
        keyed.update(f"{address}\0{agent}".encode())
        return urlsafe_b64encode(keyed.digest()).rstrip(b"=").decode("ascii")
