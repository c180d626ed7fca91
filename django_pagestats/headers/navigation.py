"""Whether a request asks for a page to be looked at: by its headers, before anybody knows the answer."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Kind(enum.Enum):
    """What the headers of a request say that it is for."""

    #: somebody goes to a page
    PAGE = "page"
    #: a page is fetched, or drawn, ahead of a click that may never come
    PREFETCH = "prefetch"
    #: a frame, an image, or something that a script asks for
    OTHER = "other"


#: headers that say with one of these words that a page is fetched ahead: Chromium, Firefox, Safari
_PURPOSES = ("HTTP_PURPOSE", "HTTP_X_PURPOSE", "HTTP_X_MOZ")
_AHEAD = frozenset({"prefetch", "prerender", "preview"})
#: headers that say so by being there: hovering under Turbo, and the preload extension of htmx 2
_PRELOADS = ("HTTP_X_SEC_PURPOSE", "HTTP_HX_PRELOADED")
#: headers of htmx and Turbo with which a script replaces a part of a page; Unpoly's pages are the beacon's to count
_PARTS = ("HTTP_HX_REQUEST", "HTTP_TURBO_FRAME", "HTTP_X_UP_VERSION")


def kind_of(meta: Mapping[str, object], *, has_accept: bool = True) -> Kind:
    """What a request is for, by its headers; its method, and what is answered, are for the caller to look at.

    `has_accept`: False for a log that has no Accept headers, where a missing one is no reason against a page. Of the
    other headers a log may have any: what is not there says nothing.
    """
    if _is_ahead(meta):
        return Kind.PREFETCH
    # HTTPS only; "empty": a script asks
    destination = _word(meta, "HTTP_SEC_FETCH_DEST")
    if destination not in ("", "document", "empty"):
        return Kind.OTHER
    if destination == "document" or _is_visit_by_script(meta):
        return Kind.PAGE
    if destination == "empty":
        return Kind.OTHER
    return Kind.PAGE if _looks_like_navigation(meta, has_accept=has_accept) else Kind.OTHER


def _is_ahead(meta: Mapping[str, object]) -> bool:
    return (
        _word(meta, "HTTP_SEC_PURPOSE").startswith("prefetch")
        or any(name in meta and _word(meta, name) in _AHEAD for name in _PURPOSES)
        or any(meta.get(name) for name in _PRELOADS)
    )


def _is_visit_by_script(meta: Mapping[str, object]) -> bool:
    """A whole page that htmx or Turbo Drive fetches in the browser's place."""
    return (
        _word(meta, "HTTP_HX_BOOSTED") == "true"
        or _word(meta, "HTTP_HX_HISTORY_RESTORE_REQUEST") == "true"
        or bool(meta.get("HTTP_X_TURBO_REQUEST_ID") and not meta.get("HTTP_TURBO_FRAME"))
    )


def _looks_like_navigation(meta: Mapping[str, object], *, has_accept: bool) -> bool:
    """Without Sec-Fetch-Dest: an old browser, or plain HTTP."""
    if _word(meta, "HTTP_SEC_FETCH_MODE") not in ("", "navigate"):
        return False
    if _word(meta, "HTTP_X_REQUESTED_WITH") == "xmlhttprequest" or any(meta.get(name) for name in _PARTS):
        return False
    accept = _word(meta, "HTTP_ACCEPT")
    return "text/html" in accept or (not accept and not has_accept)


def _word(meta: Mapping[str, object], name: str) -> str:
    return str(meta.get(name) or "").strip().lower()
