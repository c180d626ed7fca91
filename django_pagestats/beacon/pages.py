"""Whether a path that a browser names is a page of the site, as its URLconf has them."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, get_script_prefix, resolve
from django.utils.translation import get_language, get_language_from_path, override


def match_of(request: HttpRequest, path: str) -> ResolverMatch | None:
    """What a decoded path, with the script prefix, leads to; None if nowhere.

    A path with a route in its fragment ("/app/#/settings") leads to where the page itself does.
    """
    script = get_script_prefix()
    if not path.startswith(script):
        return None
    path_info = f"/{path[len(script) :]}"
    for candidate in dict.fromkeys((path_info, path_info.partition("#")[0])):
        if match := _resolved(candidate, getattr(request, "urlconf", None)):
            return match
    return None


def _resolved(path_info: str, urlconf: str | None) -> ResolverMatch | None:
    for language in _languages(path_info):
        with override(language):
            try:
                return resolve(path_info, urlconf)
            except Resolver404:
                continue
    return None


def _languages(path_info: str) -> Iterator[str | None]:
    """i18n_patterns() knows the paths of one language at a time, and the endpoint's own path may have none."""
    if not settings.USE_I18N:
        return iter((None,))
    return iter(dict.fromkeys((get_language(), get_language_from_path(path_info), settings.LANGUAGE_CODE)))
