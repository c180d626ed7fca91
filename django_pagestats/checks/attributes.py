"""What can be wrong with the settings of the attributes of a page view: where they come from is not there."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from django.core.checks import CheckMessage

from django_pagestats.checks.messages import Apps, error, warning
from django_pagestats.checks.settings import why_not_called
from django_pagestats.conf import ATTRIBUTES, Conf, conf
from django_pagestats.headers import countries


def check_attributes(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    """A setting whose value will not do at all is told of by check_settings."""
    found: list[CheckMessage] = []
    if not Conf.COUNTRY.complaint() and conf.COUNTRY is not None:
        found += _of_country(conf.COUNTRY)
    if not Conf.ATTRIBUTES.complaint():
        own = (path for path in conf.ATTRIBUTES if path not in ATTRIBUTES)
        found += [attribute_unknown(path, reason) for path in own if (reason := why_not_called(path))]
    return found


def _of_country(setting: str | os.PathLike[str]) -> list[CheckMessage]:
    if countries.is_file(setting):
        if find_spec("maxminddb") is None:
            return [maxminddb_missing()]
        reason = countries.why_not_opened(os.fspath(setting))
        return [country_file_unreadable(os.fspath(setting), reason)] if reason else []
    if countries.is_dotted_path(setting):
        reason = why_not_called(str(setting))
        return [country_unknown(str(setting), reason)] if reason else []
    return [] if conf.TRUSTED_PROXIES else [country_header_never_believed(str(setting))]


def country_file_unreadable(path: str, reason: str) -> CheckMessage:
    return error(
        52,
        f"PAGESTATS_COUNTRY names the file {path!r}, which cannot be read ({reason}): no country is recorded.",
        "Correct the path, or download the file: docs/recording.md names one that is free.",
    )


def maxminddb_missing() -> CheckMessage:
    return warning(
        53,
        "PAGESTATS_COUNTRY names a file, and the package maxminddb is not installed: no country is recorded.",
        'Run: pip install "django-pagestats[country]"',
    )


def country_unknown(path: str, reason: str) -> CheckMessage:
    return error(
        54,
        f"PAGESTATS_COUNTRY names {path!r}, which {reason}: no country is recorded.",
        "Name a header, the path of an MMDB file, or the dotted path of a callable(request) -> str | None.",
    )


def attribute_unknown(path: str, reason: str) -> CheckMessage:
    return error(
        55,
        f"PAGESTATS_ATTRIBUTES names {path!r}, which {reason}: the attribute is not recorded.",
        "Correct it: it is the dotted path of a callable(request, response) -> str | None.",
    )


def country_header_never_believed(header: str) -> CheckMessage:
    return warning(
        56,
        f"PAGESTATS_COUNTRY names the header {header}, and PAGESTATS_TRUSTED_PROXIES nobody who may send it:"
        " no country is recorded.",
        "Write the addresses or networks of your proxy or CDN into PAGESTATS_TRUSTED_PROXIES.",
    )
