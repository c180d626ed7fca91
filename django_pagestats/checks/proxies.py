"""Whether the settings name a proxy to Django and not to us: told by `check --deploy`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from django_pagestats.checks.messages import Apps, warning
from django_pagestats.conf import conf

HINT = (
    "Write the addresses or networks of your proxies in PAGESTATS_TRUSTED_PROXIES, such as"
    ' ["127.0.0.1"], or ["unix"] behind a Unix socket; or silence this if they put the client into REMOTE_ADDR.'
)


def check_proxies(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    return [] if conf.TRUSTED_PROXIES else list(_named_to_django())


def _named_to_django() -> Iterator[CheckMessage]:
    if settings.SECURE_PROXY_SSL_HEADER is not None:
        yield scheme_of_a_proxy()
    if settings.USE_X_FORWARDED_HOST:
        yield host_of_a_proxy()


def scheme_of_a_proxy() -> CheckMessage:
    return warning(50, _text("SECURE_PROXY_SSL_HEADER"), HINT)


def host_of_a_proxy() -> CheckMessage:
    return warning(51, _text("USE_X_FORWARDED_HOST"), HINT)


def _text(setting: str) -> str:
    return (
        f"{setting} says that a proxy stands before the site, and PAGESTATS_TRUSTED_PROXIES names none: all visitors"
        " would have the proxy's address, and those with the same browser count as one."
    )
