"""Whether a path that a browser names is a page of the site, as its URLconf has them."""

from __future__ import annotations

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
    # A URLconf knows the paths of one language at a time, by i18n_patterns() and by routes that are translated: that of
    # the endpoint's own address or the visitor, that of the path, or the site's, whose paths may have no prefix.
    for language in dict.fromkeys((get_language(), get_language_from_path(path_info) or settings.LANGUAGE_CODE)):
        with override(language):
            try:
                return resolve(path_info, urlconf)
            except Resolver404:
                continue
    return None
