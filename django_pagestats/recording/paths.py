"""Which page a request was for: its path as it is counted, and callables for PAGESTATS_PATH."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, get_script_prefix, resolve
from django.utils.module_loading import import_string
from django.utils.translation import get_language_from_path

from django_pagestats import intake
from django_pagestats.conf import conf
from django_pagestats.models import Reason

#: apps whose pages are never counted
EXCLUDED_APPS = frozenset({"admin"})
#: as Django names what `path("users/<int:id>/")` and `re_path("^users/(?P<id>[0-9]+)/$")` take
_CONVERTED = re.compile(r"<(?:[^>:]+:)?([^>:]+)>")


def page_of(request: HttpRequest, path: str, query: str) -> str | Reason:
    """The page that a path and a query belong to, or why it is not counted.

    `path` is decoded, as `request.path` is. Raises what PAGESTATS_PATH raises.
    """
    try:
        intake.check_page(path)
    except intake.RefusedError as error:
        return error.reason
    if not path.startswith("/"):
        return Reason.INVALID_PATH
    if is_excluded(path):
        return Reason.EXCLUDED_PATH
    return _page_of(request, path, query)


def _page_of(request: HttpRequest | None, path: str, query: str) -> str | Reason:
    page: object = path + intake.query_of_page(query)
    if conf.PATH is not None:
        page = import_string(conf.PATH)(request, page)
    if page is None:
        return Reason.EXCLUDED_PATH
    try:
        return intake.check_page(page)  # type: ignore[arg-type]
    except intake.RefusedError as error:
        return error.reason


def page_of_url(url: str) -> str | None:
    """The page that a link's URL belongs to; None: no page view of it is recorded.

    Where no request is at hand: PAGESTATS_PATH gets one that has nothing but this path. Raises what that raises.
    """
    try:
        path = intake.normalise_path(url)
    except intake.RefusedError:
        return None
    # a request is made only for who asks for it: it takes longer than all else here
    request = None if conf.PATH is None else _bare_request(path)
    page = _page_of(request, path, url.partition("#")[0].partition("?")[2])
    return None if isinstance(page, Reason) else page


def _bare_request(path: str) -> HttpRequest:
    """For a path without a request."""
    script, request = get_script_prefix(), HttpRequest()
    request.method, request.path = "GET", path
    request.path_info = f"/{path[len(script) :]}" if path.startswith(script) else path
    return request


def is_counted_url(url: str) -> bool:
    """Whether page views of a link's URL are counted at all: its path is not excluded, nor its view `@not_counted`."""
    try:
        path = intake.normalise_path(url)
    except intake.RefusedError:
        return False
    return not is_excluded(path) and not is_not_counted(_bare_request(path))


def is_excluded(path: str) -> bool:
    """Whether a path is one of PAGESTATS_EXCLUDE_PATHS, or of static or media files."""
    if any(_compiled(pattern).search(path) for pattern in conf.EXCLUDE_PATHS):
        return True
    return path.startswith(_prefixes(settings.STATIC_URL, settings.MEDIA_URL, get_script_prefix()))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@lru_cache(maxsize=16)
def _prefixes(static: str | None, media: str | None, script: str) -> tuple[str, ...]:
    """Where files are: a prefix no longer than the site's own would be every page (an unset MEDIA_URL is "/")."""
    own = (urlsplit(url).path for url in (static, media) if url and not urlsplit(url).netloc)
    return tuple(prefix for prefix in own if len(prefix) > len(script))


def is_not_counted(request: HttpRequest) -> bool:
    """Whether the view of a request is `@not_counted`, or a page of the admin."""
    match = match_of(request, request.path_info)
    return match is not None and is_not_counted_view(match)


def is_not_counted_view(match: ResolverMatch) -> bool:
    """The same of what a path leads to."""
    return not EXCLUDED_APPS.isdisjoint(match.app_names) or getattr(match.func, "pagestats_not_counted", False)


def match_of(request: HttpRequest, path_info: str) -> ResolverMatch | None:
    """What a path without the script prefix leads to: also where a cache answered, before Django asked."""
    match: ResolverMatch | None = getattr(request, "resolver_match", None)
    if match is not None and path_info == request.path_info:
        return match
    try:
        return resolve(path_info, getattr(request, "urlconf", None))
    except Resolver404:
        return None


def without_language(request: HttpRequest, path: str) -> str:
    """For PAGESTATS_PATH: "/de/about/" and "/fr/about/" of i18n_patterns() are the page "/about/"."""
    script = get_script_prefix()
    rest = f"/{path[len(script) :]}" if path.startswith(script) else path
    if not get_language_from_path(rest):
        return path
    return script + rest.lstrip("/").partition("/")[2]


def route(request: HttpRequest, path: str) -> str:
    """For PAGESTATS_PATH: "/users/7/" is the page "/users/<id>/", as the URLconf names it; others stay as they are."""
    from django.contrib.admindocs.views import simplify_regex

    script = get_script_prefix()
    bare, question, query = path.partition("?")
    match = match_of(request, f"/{bare[len(script) :]}" if bare.startswith(script) else bare)
    if match is None:
        return path
    named = _CONVERTED.sub(r"<\1>", simplify_regex(match.route))
    return script + named.lstrip("/") + question + query
