"""What a request is for, by headers as browsers and scripts send them."""

from __future__ import annotations

import pytest

from django_pagestats.headers.navigation import Kind, kind_of

CHROME_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
DOCUMENT = {
    "HTTP_ACCEPT": CHROME_ACCEPT,
    "HTTP_SEC_FETCH_DEST": "document",
    "HTTP_SEC_FETCH_MODE": "navigate",
    "HTTP_SEC_FETCH_SITE": "none",
}
#: HTTPS: a script fetches
FETCHED = {
    "HTTP_ACCEPT": "*/*",
    "HTTP_SEC_FETCH_DEST": "empty",
    "HTTP_SEC_FETCH_MODE": "cors",
    "HTTP_SEC_FETCH_SITE": "same-origin",
}
#: HTTP, or an old browser
PLAIN = {"HTTP_ACCEPT": CHROME_ACCEPT}
HTMX_2 = {"HTTP_HX_REQUEST": "true", "HTTP_ACCEPT": "*/*"}
HTMX_4 = {"HTTP_HX_REQUEST": "true", "HTTP_ACCEPT": "text/html"}
TURBO = {"HTTP_X_TURBO_REQUEST_ID": "5d9e5a6f", "HTTP_ACCEPT": "text/html, application/xhtml+xml"}

PAGES = {
    "a navigation": DOCUMENT,
    "over HTTP": PLAIN,
    "of no Sec-Fetch-Dest but a mode": {**PLAIN, "HTTP_SEC_FETCH_MODE": "navigate"},
    "in a web view, which names its app": {**PLAIN, "HTTP_X_REQUESTED_WITH": "com.example.app"},
    "in upper case": {"HTTP_ACCEPT": "TEXT/HTML", "HTTP_SEC_FETCH_DEST": "Document"},
    "htmx, boosted": {**FETCHED, **HTMX_2, "HTTP_HX_BOOSTED": "true"},
    "htmx, boosted, over HTTP": {**HTMX_2, "HTTP_HX_BOOSTED": "true"},
    "htmx 4, boosted": {**FETCHED, **HTMX_4, "HTTP_HX_BOOSTED": "true"},
    "htmx, Back": {**FETCHED, **HTMX_2, "HTTP_HX_HISTORY_RESTORE_REQUEST": "true"},
    "htmx 4, Back, over HTTP": {**HTMX_4, "HTTP_HX_HISTORY_RESTORE_REQUEST": "true"},
    "Turbo Drive": {**FETCHED, **TURBO},
    "Turbo Drive, over HTTP": TURBO,
}
PREFETCHES = {
    "speculation rules": {**DOCUMENT, "HTTP_SEC_PURPOSE": "prefetch"},
    "prerender": {**DOCUMENT, "HTTP_SEC_PURPOSE": "prefetch;prerender"},
    "through a proxy": {**DOCUMENT, "HTTP_SEC_PURPOSE": "prefetch;anonymous-client-ip"},
    "link rel=prefetch in Chromium": {**FETCHED, "HTTP_PURPOSE": "prefetch"},
    "link rel=prefetch in Firefox of old": {**PLAIN, "HTTP_X_MOZ": "prefetch"},
    "Safari's pictures of pages": {**PLAIN, "HTTP_X_PURPOSE": "preview"},
    "Turbo, hovering": {**FETCHED, **TURBO, "HTTP_X_SEC_PURPOSE": "prefetch"},
    "htmx 2, preloading": {**FETCHED, **HTMX_2, "HTTP_HX_PRELOADED": "true"},
    "htmx 2, preloading what is boosted": {**HTMX_2, "HTTP_HX_BOOSTED": "true", "HTTP_HX_PRELOADED": "true"},
}
OTHERS = {
    "an image": {"HTTP_ACCEPT": "image/avif,*/*", "HTTP_SEC_FETCH_DEST": "image"},
    "a frame": {**DOCUMENT, "HTTP_SEC_FETCH_DEST": "iframe"},
    "a frame of Turbo's in a frame": {**TURBO, "HTTP_SEC_FETCH_DEST": "iframe"},
    "a script's fetch": FETCHED,
    "a script's fetch of HTML": {**FETCHED, "HTTP_ACCEPT": "text/html"},
    "a script's fetch, known by its mode only": {**PLAIN, "HTTP_SEC_FETCH_MODE": "cors"},
    "jQuery over HTTP": {**PLAIN, "HTTP_X_REQUESTED_WITH": "XMLHttpRequest"},
    "JSON over HTTP": {"HTTP_ACCEPT": "application/json"},
    "anything over HTTP": {"HTTP_ACCEPT": "*/*"},
    "no Accept": {},
    "htmx, a part": {**FETCHED, **HTMX_2},
    "htmx 4, a part, over HTTP": HTMX_4,
    "htmx, not boosted": {**FETCHED, **HTMX_2, "HTTP_HX_BOOSTED": "false"},
    "a Turbo frame": {**FETCHED, **TURBO, "HTTP_TURBO_FRAME": "messages"},
    "a Turbo frame, over HTTP": {**TURBO, "HTTP_TURBO_FRAME": "messages"},
    "Unpoly": {**FETCHED, "HTTP_X_UP_VERSION": "3.14.0", "HTTP_X_UP_TARGET": "main"},
    "Unpoly, over HTTP": {**PLAIN, "HTTP_X_UP_VERSION": "3.14.0", "HTTP_X_UP_TARGET": "main"},
}


@pytest.mark.parametrize("meta", PAGES.values(), ids=PAGES)
def test_pages(meta: dict[str, str]) -> None:
    assert kind_of(meta) is Kind.PAGE


@pytest.mark.parametrize("meta", PREFETCHES.values(), ids=PREFETCHES)
def test_fetched_ahead(meta: dict[str, str]) -> None:
    assert kind_of(meta) is Kind.PREFETCH


@pytest.mark.parametrize("meta", OTHERS.values(), ids=OTHERS)
def test_others(meta: dict[str, str]) -> None:
    assert kind_of(meta) is Kind.OTHER


@pytest.mark.parametrize("header", ["HTTP_PURPOSE", "HTTP_X_PURPOSE", "HTTP_X_MOZ", "HTTP_SEC_PURPOSE"])
def test_another_purpose_is_none(header: str) -> None:
    assert kind_of({**DOCUMENT, header: "something else"}) is Kind.PAGE


class TestLogs:
    """A log has the headers that somebody chose."""

    def test_without_accept(self) -> None:
        assert kind_of({}, has_accept=False) is Kind.PAGE
        assert kind_of({"HTTP_SEC_FETCH_DEST": ""}, has_accept=False) is Kind.PAGE

    @pytest.mark.parametrize("meta", PREFETCHES.values(), ids=PREFETCHES)
    def test_what_is_fetched_ahead_stays_so(self, meta: dict[str, str]) -> None:
        without = {name: value for name, value in meta.items() if name != "HTTP_ACCEPT"}
        assert kind_of(without, has_accept=False) is Kind.PREFETCH

    def test_other_headers_still_speak(self) -> None:
        assert kind_of({"HTTP_SEC_FETCH_DEST": "image"}, has_accept=False) is Kind.OTHER
        assert kind_of({"HTTP_SEC_FETCH_MODE": "cors"}, has_accept=False) is Kind.OTHER
        assert kind_of({"HTTP_X_REQUESTED_WITH": "XMLHttpRequest"}, has_accept=False) is Kind.OTHER

    def test_an_accept_that_is_there_still_speaks(self) -> None:
        assert kind_of({"HTTP_ACCEPT": "application/json"}, has_accept=False) is Kind.OTHER
