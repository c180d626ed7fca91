"""Which page an object has, whatever becomes of asking for it: a list of objects must be shown all the same."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from django_pagestats.harmless import tell
from django_pagestats.objects import path_of


def page_beside(item: object, url_of: Callable[..., object]) -> str | None:
    """The path under which page views of an object's page are recorded, or None: it has no page on this site.

    `url_of(item)` is the site's own code: what it raises is logged, and then there is no page either.
    """
    try:
        url = url_of(item)
        if not url or _is_elsewhere(str(url)):
            return None
        return path_of(str(url))
    except Exception as error:  # of the site's own code, or of a URL that is none
        tell(f"The page of {item._meta.label if hasattr(item, '_meta') else type(item).__name__} cannot be told", error)
        return None


def _is_elsewhere(url: str) -> bool:
    """Whether a URL leads to a host that is none of ALLOWED_HOSTS; a site that names none has any."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    return bool(host and settings.ALLOWED_HOSTS) and not validate_host(
        split_domain_port(host)[0], settings.ALLOWED_HOSTS
    )
