"""The country of a request: by a header, a file, or a callable of the site's own (PAGESTATS_COUNTRY)."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.utils.module_loading import import_string

from django_pagestats.conf import conf
from django_pagestats.headers import countries


def country_of(request: HttpRequest) -> str:
    """Two letters in upper case; '' where it is not known. What the site's own callable raises comes through."""
    setting = conf.COUNTRY
    if setting is None:
        return ""
    if countries.is_dotted_path(setting):
        find: Callable[[HttpRequest], str | None] = import_string(str(setting))
        return countries.code_of(find(request))
    return countries.country_of(request.META)
