"""Whether a request comes from a page of this site, or of another one that the owner has named."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest

from django_pagestats.conf import conf


def is_from_this_site(request: HttpRequest) -> bool:
    """By what the browser says, which no page can change: Sec-Fetch-Site, or else the origin's host.

    Browsers send Sec-Fetch-Site over HTTPS and on localhost; an image has no Origin, its Referer stands in.
    """
    site = request.META.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return bool(site == "same-origin")
    try:
        host = request.get_host()
    except DisallowedHost:
        return False
    return urlsplit(origin_of(request)).netloc.lower() == host.lower()


def is_listed(request: HttpRequest) -> bool:
    """Whether it comes from one of PAGESTATS_BEACON_ORIGINS."""
    return origin_of(request) in conf.BEACON_ORIGINS


def is_welcome(request: HttpRequest) -> bool:
    return is_from_this_site(request) or is_listed(request)


def origin_of(request: HttpRequest) -> str:
    """The scheme and host of the page that asks; empty where that is not said."""
    given = request.META.get("HTTP_ORIGIN") or request.META.get("HTTP_REFERER") or ""
    try:
        parts = urlsplit(given)
    except ValueError:  # half an IPv6 address
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
