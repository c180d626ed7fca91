"""The same visitor on the same path twice: one page view, whatever happens to the cache."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache

from django_pagestats.recording import duplicates, memory


class Clock:
    """A clock that goes by hand, in place of the memory's."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class BrokenCache(BaseCache):
    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        raise ConnectionError("redis at 192.0.2.1 is not there")

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        raise ConnectionError("redis at 192.0.2.1 is not there")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(memory, "time", clock)
    return clock


class TestWindow:
    def test_runs_from_the_first_view(self, clock: Clock) -> None:
        assert duplicates.is_first("v", "/")
        clock.now += 1_799
        assert not duplicates.is_first("v", "/")
        clock.now += 1
        assert duplicates.is_first("v", "/")

    def test_is_of_one_visitor_and_one_path(self) -> None:
        firsts = [duplicates.is_first(*who) for who in (("v", "/"), ("w", "/"), ("v", "/a"), ("v", "/"))]
        assert firsts == [True, True, True, False]

    def test_a_view_that_could_not_be_stored_is_forgotten(self) -> None:
        assert duplicates.is_first("v", "/")
        duplicates.forget("v", "/")
        assert duplicates.is_first("v", "/")

    def test_zero_counts_all(self, settings: Any) -> None:
        settings.PAGESTATS_DUPLICATE_SECONDS = 0
        assert duplicates.is_first("v", "/")
        assert duplicates.is_first("v", "/")


class TestMark:
    def test_is_taken_once_within_a_minute(self, clock: Clock) -> None:
        duplicates.mark("v", "/")
        assert duplicates.take_mark("v", "/")
        assert not duplicates.take_mark("v", "/")
        duplicates.mark("v", "/")
        clock.now += 60
        assert not duplicates.take_mark("v", "/")

    def test_each_view_has_its_own(self) -> None:
        for _ in range(2):
            duplicates.mark("v", "/")
        assert [duplicates.take_mark("v", "/") for _ in range(3)] == [True, True, False]


class TestMemoryOfAProcess:
    def test_is_bounded_and_the_oldest_go_first(self) -> None:
        few = memory.OfProcess(most=3)
        for key in "abcd":
            assert few.add(key, 60)
        assert few.add("a", 60)
        assert not few.add("d", 60)

    def test_touches_no_cache_of_the_site(self, settings: Any) -> None:
        settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}
        assert duplicates.is_first("v", "/")
        assert not duplicates.is_first("v", "/")


class TestSharedCache:
    def test_is_shared(self, settings: Any) -> None:
        settings.CACHES = {
            "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
            "shared": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "duplicates"},
        }
        settings.PAGESTATS_CACHE = "shared"
        caches["shared"].clear()
        assert duplicates.is_first("v", "/")
        memory.own.clear()
        assert not duplicates.is_first("v", "/")
        duplicates.forget("v", "/")
        assert duplicates.is_first("v", "/")

    def test_one_that_fails_is_left_alone_and_the_process_remembers(
        self, settings: Any, caplog: pytest.LogCaptureFixture, clock: Clock
    ) -> None:
        settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}
        settings.PAGESTATS_CACHE = "default"
        assert duplicates.is_first("v", "/")
        assert not duplicates.is_first("v", "/")
        told = "The cache 'default' is left alone by this process for 30 s: it failed (ConnectionError)."
        assert caplog.messages == [told]
        clock.now += 30
        duplicates.mark("v", "/")
        assert duplicates.take_mark("v", "/")
        assert caplog.messages == [told, told]

    def test_one_that_is_slow_is_left_alone(
        self, settings: Any, caplog: pytest.LogCaptureFixture, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def wait(*args: Any, **kwargs: Any) -> bool:
            asked.append(args)
            clock.now += 5
            return True

        settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}
        settings.PAGESTATS_CACHE = "default"
        monkeypatch.setattr(BrokenCache, "add", wait)
        assert [duplicates.is_first("v", path) for path in "abc"] == [True, True, True]
        assert len(asked) == 1
