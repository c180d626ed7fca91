"""Each check of what costs a site under load, by what brings it about."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.db import connections

from django_pagestats import checks
from tests.checking import ids, running


def found(command: str = "check") -> list[str]:
    with running(command):
        return ids(checks.check_load())


@pytest.fixture
def asgi(settings: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A site that is served by ASGI; gives the settings of its database."""
    settings.ASGI_APPLICATION = "site.asgi.application"
    kept = {**connections.settings["default"], "CONN_MAX_AGE": 60}
    monkeypatch.setitem(connections.settings, "default", kept)
    return kept


def test_nothing() -> None:
    assert found() == []


class TestConnections:
    def test_asgi_with_connections_that_stay(self, asgi: dict[str, Any]) -> None:
        assert found() == ["pagestats.W080"]
        asgi["CONN_MAX_AGE"] = None
        assert found() == ["pagestats.W080"]

    def test_it_is_told_where_somebody_asks(self, asgi: dict[str, Any]) -> None:
        assert found("runserver") == []

    @pytest.mark.parametrize("app", ["channels", "daphne"])
    def test_by_an_app(
        self, app: str, asgi: dict[str, Any], settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        del settings.ASGI_APPLICATION
        assert found() == []
        module = ModuleType(app)  # neither need be installed
        module.__path__ = [str(tmp_path)]
        monkeypatch.setitem(sys.modules, app, module)
        settings.INSTALLED_APPS = [app, *settings.INSTALLED_APPS]
        assert found() == ["pagestats.W080"]

    def test_cured(self, asgi: dict[str, Any], settings: Any) -> None:
        settings.PAGESTATS_BUFFER = True
        assert found() == []
        settings.PAGESTATS_BUFFER = False
        asgi["OPTIONS"] = {"pool": True}
        assert found() == []
        asgi.update(OPTIONS={}, CONN_MAX_AGE=0)
        assert found() == []


class TestCache:
    @pytest.mark.parametrize(
        ("backend", "wanted"),
        [
            ("django.core.cache.backends.redis.RedisCache", []),
            ("django.core.cache.backends.memcached.PyMemcacheCache", []),
            ("django.core.cache.backends.locmem.LocMemCache", ["pagestats.W082"]),
            ("django.core.cache.backends.dummy.DummyCache", ["pagestats.W082"]),
            ("django.core.cache.backends.filebased.FileBasedCache", ["pagestats.W082"]),
            ("django.core.cache.backends.db.DatabaseCache", ["pagestats.W082"]),
        ],
    )
    def test_backends(self, backend: str, wanted: list[str], settings: Any) -> None:
        settings.CACHES = {"default": {"BACKEND": backend}}
        assert found() == []  # nobody has named it
        settings.PAGESTATS_CACHE = "default"
        assert found() == wanted

    def test_an_alias_that_is_none(self, settings: Any) -> None:
        settings.PAGESTATS_CACHE = "elsewhere"
        assert found() == ["pagestats.E081"]

    def test_what_another_check_complains_of(self, settings: Any) -> None:
        settings.PAGESTATS_CACHE = 7
        settings.PAGESTATS_BUFFER_ROWS = "many"
        assert found() == []


def test_a_buffer_that_is_full_before_it_is_written(settings: Any) -> None:
    settings.PAGESTATS_BUFFER_ROWS = 100
    settings.PAGESTATS_BUFFER_LIMIT = 99
    assert found() == ["pagestats.W083"]
    settings.PAGESTATS_BUFFER_LIMIT = 100
    assert found() == []
