"""What the template tags write into a page: nothing where the beacon is not to record, or the page is none."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.template import Context
from django.urls import NoReverseMatch, reverse
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

from django_pagestats.beacon import endpoint, script
from django_pagestats.conf import conf

logger = logging.getLogger(__name__)

NAMESPACE = "django_pagestats"
NOTHING = mark_safe("")


def script_html(context: Context, *, nonce: Any, attributes: dict[str, Any]) -> SafeString:
    """The script; `attributes` become its data- attributes: text, True (there), False or None (not there)."""
    if not is_wanted(context):
        return NOTHING
    source = _url("script", script.digest())
    if source is None:
        return NOTHING
    nonce = nonce_of(context) if nonce is None else nonce
    all_attributes = {"nonce": None if nonce is None else str(nonce)}
    all_attributes |= {f"data-{name}": value for name, value in (_of_settings() | attributes).items()}
    return format_html('<script defer src="{}"{}></script>', source, _written(all_attributes))


def pixel_html(context: Context) -> SafeString:
    """An image for browsers without scripts; its address says of which page."""
    if not is_wanted(context):
        return NOTHING
    source = _url("pixel")
    if source is None:
        return NOTHING
    request = request_of(context)
    assert request is not None  # noqa: S101 - it is wanted
    asked = {endpoint.PATH: request.path}
    if kept := [(name, value) for name in sorted(conf.QUERY) for value in request.GET.getlist(name)]:
        asked[endpoint.QUERY] = urlencode(kept)
    return format_html('<noscript><img src="{}?{}" alt="" width="1" height="1"></noscript>', source, urlencode(asked))


def opt_out_html(label: str | None) -> SafeString:
    """A button that works without a script and in a page that a cache keeps: what it does is told by another page."""
    action = _url("opt_out")
    if action is None:
        return NOTHING
    return format_html(
        '<form method="post" action="{}" class="pagestats-opt-out">'
        '<button type="submit" name="counted" value="no">{}</button></form>',
        action,
        gettext("Do not count my visits") if label is None else label,
    )


def is_wanted(context: Context) -> bool:
    """Whether the beacon records, and the template is a page's: Django's own page for what is not found is none.

    Django gives that page `request_path` and `exception`; its page for an error of the server has no request.
    """
    if conf.RECORD_WITH == "middleware" or conf.ENABLED is False:
        return False
    return request_of(context) is not None and not ("request_path" in context and "exception" in context)


def request_of(context: Context) -> HttpRequest | None:
    """With or without the context processor `request`."""
    request: HttpRequest | None = getattr(context, "request", None) or context.get("request")
    return request


def nonce_of(context: Context) -> Any:
    """Of Django's own policy (6.0 and later), or of django-csp. Both are made when they are first read as text, and are
    false before that: so they are compared with None only.
    """
    nonce = context.get("csp_nonce")
    return getattr(request_of(context), "csp_nonce", None) if nonce is None else nonce


def _of_settings() -> dict[str, Any]:
    return {
        "query": " ".join(conf.QUERY) or None,
        "gpc": None if conf.HONOUR_GPC else "false",
        "dnt": None if conf.HONOUR_DNT else "false",
    }


def _written(attributes: dict[str, Any]) -> SafeString:
    # escaped, whatever it says of itself: a text that stands in a template is safe for a page, and not for an attribute
    given = {name: value for name, value in attributes.items() if value is not None and value is not False}
    return format_html_join(
        "",
        "{}{}",
        ((f" {name}", "" if value is True else format_html('="{}"', escape(value))) for name, value in given.items()),
    )


def _url(name: str, *args: str) -> str | None:
    try:
        return reverse(f"{NAMESPACE}:{name}", args=args)
    except NoReverseMatch:
        _tell_of_missing_urls()
        return None


@lru_cache(maxsize=1)
def _tell_of_missing_urls() -> None:
    """Once in a process, and not with each page."""
    logger.error('The URLconf has no "django_pagestats.urls": add path("ps/", include("django_pagestats.urls")).')
