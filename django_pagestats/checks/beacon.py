"""What can be wrong where the beacon records: its addresses, and a policy that needs a page's response."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage
from django.urls import NoReverseMatch, reverse

from django_pagestats.checks.messages import Apps, warning
from django_pagestats.conf import conf


def check_beacon(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    return list(_beacon()) if conf.RECORD_WITH in ("beacon", "both") else []


def _beacon() -> Iterator[CheckMessage]:
    try:
        reverse("django_pagestats:collect")
    except NoReverseMatch:
        yield urls_missing(conf.RECORD_WITH)
    if conf.RECORD_WITH == "beacon" and conf.VISITOR_KEY == "cookie":
        yield cookie_never_set()


def urls_missing(record_with: str) -> CheckMessage:
    return warning(
        70,
        f"PAGESTATS_RECORD_WITH is {record_with!r}, and ROOT_URLCONF has none of the beacon's addresses: its tags write"
        " nothing into a page.",
        'Add path("ps/", include("django_pagestats.urls")).',
    )


def cookie_never_set() -> CheckMessage:
    return warning(
        71,
        'PAGESTATS_VISITOR_KEY is "cookie", and only the beacon records, which sets no cookie: all visitors get the key'
        " of the day.",
        'PAGESTATS_RECORD_WITH = "both" with the middleware, or another policy.',
    )
