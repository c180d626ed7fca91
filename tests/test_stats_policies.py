"""By which policies visitors were told apart in a range."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from django_pagestats import stats
from django_pagestats.models import VisitorPolicy
from django_pagestats.stats import Policy
from tests.stats_oracle import fold_naively

pytestmark = pytest.mark.django_db


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2025, 3, day, hour, tzinfo=timezone.utc)


def march(day: int) -> date:
    return date(2025, 3, day)


RECORDED = [("daily", at(5, 10)), ("daily", at(5, 11)), ("session", at(10)), ("daily", at(20, 12))]
DAILY = Policy("daily", at(5, 10), at(10), "recorded")
SESSION = Policy("session", at(10), at(20, 12), "recorded")
DAILY_AGAIN = Policy("daily", at(20, 12), None, "recorded")
IMPORTED = Policy("daily", at(1), at(4, 23), "imported")


@pytest.fixture(autouse=True)
def policies() -> None:
    for policy, since in reversed(RECORDED):  # as they are found, not as they were written
        VisitorPolicy.objects.create(policy=policy, since=since)
    VisitorPolicy.objects.create(policy="daily", origin="imported", since=at(1), until=at(4, 23))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, [IMPORTED, DAILY, SESSION, DAILY_AGAIN]),
        (march(10), march(20), [SESSION]),
        (march(9), march(10), [DAILY]),
        (march(9), march(11), [DAILY, SESSION]),
        (march(20), march(21), [SESSION, DAILY_AGAIN]),
        (march(21), None, [DAILY_AGAIN]),
        (None, march(5), [IMPORTED]),
        (None, march(1), []),
        (march(5), march(5), []),
        (at(5, 10), at(5, 11), [DAILY]),
        (at(5, 9), at(5, 10), []),
        (at(20, 12), at(20, 13), [DAILY_AGAIN]),
        # the last page view of an import is of that very instant
        (at(4, 23), at(5), [IMPORTED]),
        (march(5), march(6), [DAILY]),
    ],
)
def test_those_of_any_part_of_a_range(start: Any, end: Any, expected: list[Policy]) -> None:
    assert stats.visitor_policy(start=start, end=end) == expected


def test_two_processes_that_told_of_the_same_policy_told_of_one() -> None:
    assert [policy.since for policy in stats.visitor_policy(end=march(6)) if policy.origin == "recorded"] == [at(5, 10)]


def test_days_are_those_of_the_aggregates() -> None:
    """As of every other answer; the setting may have changed since."""
    fold_naively([], "Pacific/Auckland")
    local = at(10).astimezone(ZoneInfo("Pacific/Auckland"))
    assert (local.day, local.hour) == (10, 13)
    assert stats.visitor_policy(start=march(10), end=march(11)) == [DAILY, SESSION]
    assert stats.visitor_policy(start=march(9), end=march(10)) == [DAILY]


def test_a_range_that_will_not_do() -> None:
    with pytest.raises(ValueError, match="is not the beginning of an hour"):
        stats.visitor_policy(start=at(5) + timedelta(minutes=1))
    with pytest.raises(ValueError, match="is after"):
        stats.visitor_policy(start=march(5), end=march(4))


def test_where_none_is_known() -> None:
    VisitorPolicy.objects.all().delete()
    assert stats.visitor_policy() == []


def test_a_date_that_the_zone_left_out_has_no_policy() -> None:
    fold_naively([], "Pacific/Apia")
    VisitorPolicy.objects.create(policy="session", since=datetime(2011, 1, 1, tzinfo=timezone.utc))
    left_out = date(2011, 12, 30)
    assert stats.visitor_policy(start=left_out, end=left_out + timedelta(days=1)) == []
    assert stats.visitor_policy(start=left_out, end=left_out + timedelta(days=2)) != []
