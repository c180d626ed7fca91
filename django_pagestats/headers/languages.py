"""The language that a browser asks for first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: the primary tag of the first range: "de" of "de-AT,de;q=0.9"; "*", "x-own" and "i-klingon" are none
_PRIMARY = re.compile(r"[ \t]*([A-Za-z]{2,3})(?=[-_,; \t]|$)")


def language_of(meta: Mapping[str, Any]) -> str:
    """The primary tag of the first language of Accept-Language in lower case, as "de"; '' if there is none."""
    found = _PRIMARY.match(meta.get("HTTP_ACCEPT_LANGUAGE", ""))
    return found[1].lower() if found else ""
