"""Each check of how recording is set up, by what brings it about."""

from __future__ import annotations

from typing import Any

import pytest

from django_pagestats import checks
from tests.checking import ids
from tests.recording_site import MIDDLEWARE

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
USERS = "django.contrib.auth.middleware.AuthenticationMiddleware"


def found() -> list[str]:
    return ids(checks.check_recording())


@pytest.mark.parametrize(
    "before",
    [
        SESSIONS,
        "django.middleware.cache.UpdateCacheMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
    ],
)
def test_the_middleware_after_what_must_be_inside(settings: Any, before: str) -> None:
    settings.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", before, MIDDLEWARE]
    (message,) = checks.check_recording()
    assert message.id == "pagestats.W090"
    assert before in message.msg
    settings.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", MIDDLEWARE, before]
    assert found() == []


def test_twice(settings: Any) -> None:
    settings.MIDDLEWARE = [MIDDLEWARE, MIDDLEWARE]
    assert found() == ["pagestats.W091"]


@pytest.mark.parametrize("name", ["VISITOR_KEY", "CONSENT", "PATH"])
def test_a_callable_that_is_not_there(settings: Any, name: str) -> None:
    setattr(settings, f"PAGESTATS_{name}", "tests.recording_site.nowhere")
    (message,) = checks.check_recording()
    assert message.id == "pagestats.E092"
    assert f"PAGESTATS_{name} names 'tests.recording_site.nowhere'" in message.msg
    for wrong in ("FIREFOX", "async_page"):
        setattr(settings, f"PAGESTATS_{name}", f"tests.recording_site.{wrong}")
        assert found() == ["pagestats.E092"]
    setattr(settings, f"PAGESTATS_{name}", "tests.recording_site.raises")
    assert found() == []


def test_both_without_a_shared_cache(settings: Any) -> None:
    settings.PAGESTATS_RECORD_WITH = "both"
    assert found() == ["pagestats.W093"]
    settings.PAGESTATS_CACHE = "default"
    assert found() == []


def test_sessions_without_a_key_that_stays(settings: Any) -> None:
    settings.PAGESTATS_VISITOR_KEY = "session"
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    assert found() == ["pagestats.W094"]


def test_policies_whose_middleware_is_missing(settings: Any) -> None:
    settings.MIDDLEWARE = [MIDDLEWARE, SESSIONS]
    settings.PAGESTATS_VISITOR_KEY = "session"
    assert found() == []
    settings.PAGESTATS_VISITOR_KEY = "user"
    assert found() == ["pagestats.E095"]
    settings.MIDDLEWARE = [MIDDLEWARE, SESSIONS, USERS]
    assert found() == []
