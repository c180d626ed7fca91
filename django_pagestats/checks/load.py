"""What costs a site under load: connections that ASGI leaves open, an unsuited cache, a buffer without room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage
from django.db import connections

from django_pagestats import aliases
from django_pagestats.checks.messages import Apps, choice, error, told, warning
from django_pagestats.conf import Conf, conf

#: what a cache is not good for, by the name of its backend's class
UNSUITED = {
    "DummyCache": "remembers nothing",
    "LocMemCache": "is each process's own, and has room for 300 keys, so that the site's own are thrown out",
    "FileBasedCache": "looks at its whole folder with each page view",
    "DatabaseCache": "costs some statements a page view, as many as it saves",
}
#: an app that is installed to serve the site by ASGI
ASGI_APPS = frozenset({"channels", "daphne"})


def check_load(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    return told([*_check_connections(), *_check_cache(), *_check_buffer()])


def _check_connections() -> Iterator[CheckMessage]:
    """Only of a site that says itself that it is served by ASGI: nothing else of the settings tells it for sure.

    Every project has an asgi.py, and the commands that run checks are no servers.
    """
    if not getattr(settings, "ASGI_APPLICATION", None) and ASGI_APPS.isdisjoint(settings.INSTALLED_APPS):
        return
    if Conf.BUFFER.complaint() or conf.BUFFER:
        return
    alias = aliases.home()
    known = connections.settings.get(alias, {})
    if known.get("CONN_MAX_AGE") != 0 and not known.get("OPTIONS", {}).get("pool"):
        yield connections_left_open(alias, known.get("CONN_MAX_AGE"))


def _check_cache() -> Iterator[CheckMessage]:
    name = conf.CACHE
    if name is None or Conf.CACHE.complaint():
        return
    if name not in settings.CACHES:
        yield cache_unknown(name)
        return
    backend = str(settings.CACHES[name].get("BACKEND", "")).rpartition(".")[2]
    if backend in UNSUITED:
        yield cache_unsuited(name, backend)


def _check_buffer() -> Iterator[CheckMessage]:
    if Conf.BUFFER_ROWS.complaint() or Conf.BUFFER_LIMIT.complaint():
        return
    if conf.BUFFER_ROWS > conf.BUFFER_LIMIT:
        yield buffer_never_full()


def connections_left_open(alias: str, age: object) -> CheckMessage:
    return choice(
        80,
        f"DATABASES[{alias!r}] has CONN_MAX_AGE = {age!r}, and the site is served by ASGI: each request that stores a"
        " page view leaves a connection open, until the database has no more.",
        'Write PAGESTATS_BUFFER = True, or "CONN_MAX_AGE": 0, on PostgreSQL with "pool": True in its OPTIONS.',
    )


def cache_unknown(name: str) -> CheckMessage:
    return error(
        81,
        f"PAGESTATS_CACHE is {name!r}, which CACHES does not have: no duplicate would be known.",
        f"Name one of {', '.join(sorted(settings.CACHES))}, or remove it: each process remembers for itself.",
    )


def cache_unsuited(name: str, backend: str) -> CheckMessage:
    return warning(
        82,
        f"PAGESTATS_CACHE is {name!r}, a {backend}: that {UNSUITED[backend]}.",
        "Name a cache of Redis or Memcached, or remove it: each process remembers for itself.",
    )


def buffer_never_full() -> CheckMessage:
    return warning(
        83,
        f"PAGESTATS_BUFFER_ROWS ({conf.BUFFER_ROWS}) is above PAGESTATS_BUFFER_LIMIT ({conf.BUFFER_LIMIT}): page views"
        " are left out before there are so many that the buffer is written at once.",
        "Raise PAGESTATS_BUFFER_LIMIT, to some times as many.",
    )
