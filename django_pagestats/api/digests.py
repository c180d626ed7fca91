"""Digests under the site's key: who has one sees whether something is as it was, and cannot find out what it is.

An unkeyed digest of a few numbers would tell them to whoever tries some millions out.
"""

from __future__ import annotations

import json

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

SALT = "django_pagestats.api"
#: hexadecimal digits: 128 bits
LENGTH = 32


def digest_of(value: object) -> str:
    """Of anything that JSON can say."""
    return _digest(value, settings.SECRET_KEY)


def is_digest_of(digest: str, value: object) -> bool:
    """Whether it is one of this value, under the key of now or one of before that the site still takes."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(constant_time_compare(digest, _digest(value, key)) for key in keys)


def _digest(value: object, key: str | bytes) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return salted_hmac(SALT, text, secret=key, algorithm="sha256").hexdigest()[:LENGTH]
