"""What recording one page view costs, against a bare INSERT through Django's cursor, and beside other apps.

    PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench python -m benchmarks.recording [--rounds 7] [--views 300]

In one process, on connections that stay open. Each round does so many page views of each way, in turn, each timed by
itself; the figure of a round is their median, minus that of the same request without what records. Tables and memories
begin empty. What is installed of django-request, django-tracking2, dj-hitcount and django-sitepulse is measured too, as
its documentation sets it up. With Redis a way whose duplicates are told by a shared cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.recording_settings"

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from benchmarks.data import make_database
from testproject.load import BROWSER

Call = Callable[[], object]
IN_A_REQUEST = "the bare INSERT in a request"
META = {
    f"HTTP_{name.upper().replace('-', '_')}": value
    for name, value in {
        **BROWSER,
        "Referer": "https://www.example.com/a/page/?of=theirs",
        "Sec-Fetch-Site": "cross-site",
        "Sec-CH-UA-Mobile": "?0",
    }.items()
}


class Way:
    """One way to record: `make` gives the next call, which is timed; `base` the same without what records."""

    def __init__(
        self, name: str, make: Callable[[], Call], base: Callable[[], Call] | None = None, **options: Any
    ) -> None:
        self.name = name
        self.make = make
        self.base = base
        #: settings of ours meanwhile
        self.options = options
        self.rounds: list[float] = []

    def measure(self, views: int) -> None:
        with these_settings(self.options):
            took = median_us(self.make, views)
            if self.base is not None:
                took -= median_us(self.base, views)
            after()
        self.rounds.append(took)


@contextmanager
def these_settings(options: dict[str, Any]) -> Iterator[None]:
    """As if they stood in the settings: those of `override_settings` are looked up in another, slower way."""
    for name, value in options.items():
        setattr(settings, name, value)
    yield
    for name in options:
        delattr(settings, name)


def median_us(make: Callable[[], Call], views: int) -> float:
    taken = []
    for call in [make() for _view in range(views)]:  # made before: what makes a request is no part of recording it
        began = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1_000


def after() -> None:
    """What a way has gathered is written outside of its time."""
    from django_pagestats.recording import flush

    flush()


# -- the requests


def new_path() -> str:
    return f"/page/{uuid.uuid4().hex}/"


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<!doctype html>ok")


def requests(get_response: Callable[[Any], Any], cookies: dict[str, str] | None = None) -> Callable[[], Call]:
    """Makes calls of a new request, of a page that nobody has seen yet."""
    from django.urls import resolve

    factory = RequestFactory()
    factory.cookies.load(cookies or {})

    def make() -> Call:
        request = factory.get(new_path() + "?utm_source=Letter&utm_campaign=may", **META)
        request.resolver_match = resolve(request.path)
        return lambda: get_response(request)

    return make


# -- the ways


def bare() -> Call:
    from django_pagestats.models import PageView

    statement = f"INSERT INTO {PageView._meta.db_table} (path, session_key, viewed_at) VALUES (%s, %s, %s)"
    path, key = new_path(), uuid.uuid4().hex[:22]

    def call() -> None:
        at = connection.ops.adapt_datetimefield_value(datetime.now(timezone.utc))
        with connection.cursor() as cursor:
            cursor.execute(statement, (path, key, at))

    return call


def inserting(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A middleware that somebody writes for this one purpose: the bare INSERT, with each request."""
    from django_pagestats.models import PageView

    statement = f"INSERT INTO {PageView._meta.db_table} (path, session_key, viewed_at) VALUES (%s, %s, %s)"

    def middleware(request: HttpRequest) -> Any:
        response = get_response(request)
        at = connection.ops.adapt_datetimefield_value(datetime.now(timezone.utc))
        with connection.cursor() as cursor:
            cursor.execute(statement, (request.path, "a visitor of twenty-two", at))
        return response

    return middleware


def by_hand() -> Call:
    from django_pagestats.recording import record_page_view

    path, key = new_path(), uuid.uuid4().hex[:22]
    return lambda: record_page_view(path=path, session_key=key)


def ours() -> Iterator[Way]:
    from django_pagestats.middleware import PageViewMiddleware

    buffer = {"PAGESTATS_BUFFER": True, "PAGESTATS_BUFFER_LIMIT": 1_000_000}
    yield Way("bare INSERT through Django's cursor", bare)
    yield Way("record_page_view()", by_hand)
    yield Way("record_page_view(), buffered", by_hand, **buffer)
    yield Way(IN_A_REQUEST, requests(inserting(answer)), requests(answer))
    middleware = requests(PageViewMiddleware(answer))
    yield Way("middleware", middleware, requests(answer), PAGESTATS_ENABLED=True)
    yield Way("middleware, buffered", middleware, requests(answer), PAGESTATS_ENABLED=True, **buffer)
    if has_redis():
        yield Way(
            "middleware, shared cache", middleware, requests(answer), PAGESTATS_ENABLED=True, PAGESTATS_CACHE="shared"
        )


def has_redis() -> bool:
    try:
        import redis
    except ImportError:
        return False
    try:
        with redis.Redis(**settings.REDIS, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except (OSError, redis.RedisError):
        return False


def peers() -> Iterator[Way]:
    for name, label in settings.PEERS.items():
        try:
            yield PEERS[name](label)
        except Exception as error:  # one that this version of Django does not carry
            print(f"{label} cannot be measured: {type(error).__name__}: {error}")


def of_request(label: str) -> Way:
    from request.middleware import RequestMiddleware

    return Way(label, requests(RequestMiddleware(answer)), requests(answer))


def of_sitepulse(label: str) -> Way:
    from sitepulse.middleware import AnalyticsMiddleware

    return Way(f"{label} (a buffer of its own)", requests(AnalyticsMiddleware(answer)), requests(answer))


def of_tracking(label: str) -> Way:
    from django.contrib.sessions.middleware import SessionMiddleware
    from tracking.middleware import VisitorTrackingMiddleware

    def around(inner: Callable[[Any], Any]) -> Callable[[], Call]:
        return requests(SessionMiddleware(with_user(inner)), a_session())

    return Way(label, around(VisitorTrackingMiddleware(answer)), around(answer))


def of_hitcount(label: str) -> Way:
    from django.contrib.auth.models import Group
    from django.contrib.sessions.middleware import SessionMiddleware
    from hitcount.mixins import HitCountViewMixin
    from hitcount.models import HitCount

    article, _made = Group.objects.get_or_create(name="any object of the site's")

    def counting(request: HttpRequest) -> HttpResponse:
        HitCountViewMixin.hit_count(request, HitCount.objects.get_for_object(article))
        return answer(request)

    def around(inner: Callable[[Any], Any]) -> Callable[[], Call]:
        return requests(SessionMiddleware(with_user(inner)), a_session())

    return Way(label, around(counting), around(answer))


def with_user(inner: Callable[[Any], Any]) -> Callable[[Any], Any]:
    from django.contrib.auth.middleware import AuthenticationMiddleware

    middleware: Callable[[Any], Any] = AuthenticationMiddleware(inner)
    return middleware


PEERS: dict[str, Callable[[str], Way]] = {
    "request": of_request,
    "tracking": of_tracking,
    "hitcount": of_hitcount,
    "sitepulse": of_sitepulse,
}


def a_session() -> dict[str, str]:
    """The cookie of a visitor who has been here before."""
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore()
    session["seen"] = True
    session.save()
    return {settings.SESSION_COOKIE_NAME: str(session.session_key)}


@contextmanager
def quiet() -> Iterator[None]:
    import logging
    import warnings

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    yield
    logging.disable(logging.NOTSET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--views", type=int, default=300)
    options = parser.parse_args()
    django.setup()
    make_database()
    with quiet():
        call_command("migrate", verbosity=0)
        call_command("flush", verbosity=0, interactive=False)
        ways = [*ours(), *peers()]
        for way in ways:  # once for what is made at the first time
            way.measure(20)
            way.rounds.clear()
        for number in range(options.rounds):
            for way in ways if number % 2 else reversed(ways):
                way.measure(options.views)
    print(f"{connection.vendor}, {options.rounds} rounds of {options.views} page views of each, in turn\n")
    print("| what records | µs | from to | x bare INSERT | x the same in a request |\n|---|---|---|---|---|")
    in_a_request = next(way for way in ways if way.name == IN_A_REQUEST)
    for way in ways:
        taken = sorted(way.rounds)
        print(
            f"| {way.name} | {statistics.median(taken):.0f} | {taken[0]:.0f} to {taken[-1]:.0f} |"
            f" {ratios(way, ways[0])} | {ratios(way, in_a_request)} |"
        )


def ratios(way: Way, yardstick: Way) -> str:
    """The median of the ratios of the rounds, and the least and the largest."""
    found = sorted(mine / theirs for mine, theirs in zip(way.rounds, yardstick.rounds, strict=True))
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


if __name__ == "__main__":
    main()
