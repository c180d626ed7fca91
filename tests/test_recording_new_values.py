"""How many never-seen values of an attribute are let in a day, and which ones count as seen."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db.utils import ConnectionDoesNotExist

from django_pagestats.models import PageView
from django_pagestats.recording import background, new_values
from django_pagestats.recording.new_values import is_let_in, learn

TODAY = date(2026, 3, 10)


@pytest.fixture(autouse=True)
def anew(recorded_anew: None) -> None: ...


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> list[date]:
    """The local day, to be changed."""
    found = [TODAY]
    monkeypatch.setattr(new_values, "_today", lambda: found[0])
    return found


def let_in(*values: str, name: str = "source") -> list[bool]:
    return [is_let_in(name, value) for value in values]


def test_so_many_new_ones_a_day_and_no_more(settings: Any, day: list[date]) -> None:
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 2
    assert let_in("a", "b", "c", "a", "c", "b") == [True, True, False, True, False, True]
    assert let_in("c", name="campaign") == [True], "each attribute has its own number"
    day[0] += timedelta(days=1)
    assert let_in("c", "d", "e") == [True, True, False]
    assert let_in("a", "b") == [True, True], "what was seen on another day is not new"


def test_the_day_is_the_local_one(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 3, 9, 20, 0, tzinfo=timezone.utc).astimezone(tz)

    monkeypatch.setattr(new_values, "datetime", Clock)
    assert new_values._today() == date(2026, 3, 9)
    settings.PAGESTATS_TIME_ZONE = "Asia/Kathmandu"
    assert new_values._today() == date(2026, 3, 10)


def test_it_is_said_once_a_day(settings: Any, day: list[date], caplog: pytest.LogCaptureFixture) -> None:
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 1
    let_in("a", "b", "c", "secret")
    (record,) = caplog.records
    assert "source" in record.getMessage() and "secret" not in caplog.text
    day[0] += timedelta(days=1)
    let_in("d", "e")
    assert len(caplog.records) == 2


def test_memory_is_bounded_and_keeps_what_is_met_again(
    settings: Any, day: list[date], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of values that come once drives out its own kind, not those that come again and again."""
    monkeypatch.setattr(new_values, "REMEMBERED", 100)
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 10
    usual = [f"usual {number}" for number in range(5)]
    assert all(let_in(*usual))
    for number in range(1_000):
        if not number % 9:
            day[0] += timedelta(days=1)
        assert let_in(f"flood {number}") == [True]
        assert all(let_in(*usual))
    seen = new_values._seen["source"]
    assert len(seen.newer) + len(seen._older) <= 200
    assert seen.new_today < 10, "the usual ones were not new again"


def test_what_is_remembered_grows_with_the_setting_up_to_a_bound(settings: Any) -> None:
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 1_000_000_000
    seen = new_values._Seen()
    for number in range(2 * new_values.MOST_REMEMBERED + 1):
        seen.add(number)
    assert len(seen.newer) == 1
    assert len(seen._older) == new_values.MOST_REMEMBERED
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 1_000
    seen = new_values._Seen()
    for number in range(new_values.REMEMBERED + 1):
        seen.add(number)
    assert len(seen.newer) == 1


def test_the_text_of_a_value_is_not_kept() -> None:
    let_in("a secret")
    assert all(isinstance(key, int) for key in new_values._seen["source"].newer)


# -- learning


def recorded(*, days_ago: int, **attributes: str) -> None:
    at = datetime(2026, 3, 10, 12, tzinfo=timezone.utc) - timedelta(days=days_ago)
    PageView.objects.create(path="/", session_key="a", viewed_at=at, attributes=attributes or None)


@pytest.mark.django_db
def test_a_process_that_starts_in_a_flood_learns_what_is_usual(settings: Any, day: list[date]) -> None:
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 1
    recorded(days_ago=30, source="usual", campaign="spring")
    recorded(days_ago=1)
    recorded(days_ago=0, source="flood of today")
    assert let_in("flood", "usual", "flood of today") == [True, False, False]
    learn()
    assert let_in("usual", "flood of today", "flood") == [True, False, True]
    assert let_in("summer", "spring", name="campaign") == [True, True]


@pytest.mark.django_db
def test_it_learns_only_when_the_days_number_is_used_up_and_once_a_day(
    settings: Any, day: list[date], django_assert_num_queries: Any
) -> None:
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 1
    with django_assert_num_queries(0):
        learn()
        let_in("a")
        learn()
    let_in("b")
    with django_assert_num_queries(1):
        learn()
        let_in("c")
        learn()
    day[0] += timedelta(days=1)
    let_in("d", "e")
    with django_assert_num_queries(1):
        learn()


class Nowhere:
    """The page views are in a database that is not there."""

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "nowhere"


def test_a_database_that_fails_is_asked_again_another_day(settings: Any, day: list[date]) -> None:
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 0
    settings.DATABASE_ROUTERS = [Nowhere()]
    let_in("a")
    with pytest.raises(ConnectionDoesNotExist):
        learn()
    let_in("b")
    learn()
    day[0] += timedelta(days=1)
    let_in("c")
    with pytest.raises(ConnectionDoesNotExist):
        learn()


@pytest.mark.django_db
def test_it_learns_from_the_newest_of_before_and_no_more_than_so_many(
    settings: Any, day: list[date], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_values, "LEARNT_FROM", 2)
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 0
    for days_ago in (3, 2, 1):
        recorded(days_ago=days_ago, source=f"{days_ago} days ago")
    let_in("x")
    learn()
    assert let_in("1 days ago", "2 days ago", "3 days ago") == [True, True, False]


@pytest.mark.django_db
def test_today_begins_at_the_local_midnight(settings: Any, day: list[date]) -> None:
    settings.PAGESTATS_TIME_ZONE = "Asia/Kathmandu"  # midnight is at 18:15 UTC
    settings.PAGESTATS_NEW_VALUES_PER_DAY = 0
    for minute, source in ((14, "before"), (15, "today")):
        at = datetime(2026, 3, 9, 18, minute, tzinfo=timezone.utc)
        PageView.objects.create(path="/", session_key="a", viewed_at=at, attributes={"source": source})
    let_in("x")
    learn()
    assert let_in("before", "today") == [True, False]


def test_the_thread_learns_and_a_flush_does_not() -> None:
    job = background._jobs["learning the values of attributes"]
    assert job.work is learn
    assert not job.is_flushed
