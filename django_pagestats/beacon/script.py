"""The script as browsers get it, under a name that changes with each change of it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

#: made of beacon.js by `make script`
MINIFIED = Path(__file__).with_name("beacon.min.js")
DIGEST_LENGTH = 12


@cache
def body() -> bytes:
    return MINIFIED.read_bytes()


@cache
def digest() -> str:
    """Of the content: a browser may keep what has this name for ever."""
    return hashlib.sha256(body()).hexdigest()[:DIGEST_LENGTH]
