"""What can be wrong with how recording is set up: the place of the middleware, and what a policy needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage

from django_pagestats.checks.messages import Apps, error, warning
from django_pagestats.checks.settings import why_not_called
from django_pagestats.conf import Conf, conf

OURS = "django_pagestats.middleware.PageViewMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
USERS = "django.contrib.auth.middleware.AuthenticationMiddleware"
#: what must be inside of ours: what answers from a cache, says "not modified", or makes a response vary
INSIDE = (
    SESSIONS,
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
)
SIGNED_COOKIES = "django.contrib.sessions.backends.signed_cookies"
POLICIES = ("daily", "monthly", "session", "user", "cookie")


def check_recording(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    return [*_middleware(settings.MIDDLEWARE), *_callables(), *_policy(settings.MIDDLEWARE), *_both()]


def _middleware(names: Sequence[str]) -> Iterator[CheckMessage]:
    if OURS not in names:
        return
    if names.count(OURS) > 1:
        yield middleware_twice()
    before = [name for name in names[: names.index(OURS)] if name in INSIDE]
    if before:
        yield middleware_late(before[0])


def _callables() -> Iterator[CheckMessage]:
    for setting in (Conf.VISITOR_KEY, Conf.CONSENT, Conf.PATH):
        path = setting.value()
        if path is None or path in POLICIES or setting.complaint():
            continue
        if reason := why_not_called(path):
            yield callable_unknown(setting.name, path, reason)


def _policy(names: Sequence[str]) -> Iterator[CheckMessage]:
    if conf.VISITOR_KEY == "session" and settings.SESSION_ENGINE == SIGNED_COOKIES:
        yield sessions_without_key()
    if OURS not in names:
        return
    needed = {"session": [SESSIONS], "user": [SESSIONS, USERS]}.get(conf.VISITOR_KEY, [])
    if missing := [name for name in needed if name not in names]:
        yield policy_without_middleware(conf.VISITOR_KEY, missing[0])


def _both() -> Iterator[CheckMessage]:
    if conf.RECORD_WITH == "both" and conf.CACHE is None:
        yield marks_of_one_process()


def middleware_late(name: str) -> CheckMessage:
    return warning(
        90,
        f"MIDDLEWARE has {OURS} after {name}: page views that a cache answers are not seen, or a cookie that is set"
        " may be stored with the page.",
        "Put it first, or right after SecurityMiddleware and WhiteNoise.",
    )


def middleware_twice() -> CheckMessage:
    return warning(91, f"MIDDLEWARE has {OURS} more than once.", "Keep the first one.")


def callable_unknown(setting: str, path: str, reason: str) -> CheckMessage:
    return error(
        92,
        f"{setting} names {path!r}, which {reason}: nothing would be recorded.",
        "Correct it; docs/settings.md says what it is called with.",
    )


def marks_of_one_process() -> CheckMessage:
    return warning(
        93,
        'PAGESTATS_RECORD_WITH is "both", and PAGESTATS_CACHE is not set: a page view that one process counts is'
        " counted once more by another one, which gets the beacon's request.",
        "Name a cache in PAGESTATS_CACHE that all processes share, such as Redis.",
    )


def sessions_without_key() -> CheckMessage:
    return warning(
        94,
        'PAGESTATS_VISITOR_KEY is "session", and sessions are kept in signed cookies: these have no key that stays, so'
        " one visitor is counted as many.",
        'Take another SESSION_ENGINE, or another policy such as "user" or "cookie".',
    )


def policy_without_middleware(policy: str, name: str) -> CheckMessage:
    return error(
        95,
        f"PAGESTATS_VISITOR_KEY is {policy!r}, and MIDDLEWARE has no {name}: all visitors get the key of the day.",
        "Add it, or take another policy.",
    )
