"""Of which days of a range visitors are known again, against a look at each day."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from itertools import groupby
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.dashboard.ranges import Days
from django_pagestats.dashboard.recognised import Stretch, longest, said_of, stretches, why_nobody
from django_pagestats.stats.answers import Policy
from django_pagestats.stats.ranges import calendar_of

ZONE = "America/New_York"
START = datetime(2025, 3, 1, tzinfo=ZoneInfo(ZONE))
DAYS = Days(date(2025, 3, 1), date(2025, 4, 10))
NAMES = ["daily", "monthly", "cookie", "user", "mysite.key"]


def at(hours: int) -> datetime:
    return (START + timedelta(hours=hours)).astimezone(timezone.utc)


def recorded(*changes: tuple[str, int]) -> list[Policy]:
    """Each policy from its hour on until the next one's, as stats.visitor_policy() gives them."""
    ends = [at(hours) for _, hours in changes[1:]]
    return [
        Policy(name, at(hours), until, "recorded") for (name, hours), until in zip(changes, [*ends, None], strict=True)
    ]


def days(first: str, last: str) -> Days:
    return Days(date.fromisoformat(f"2025-{first}"), date.fromisoformat(f"2025-{last}") + timedelta(days=1))


def of(policies: list[Policy], range_of: Days = DAYS) -> list[Stretch]:
    return stretches(range_of, policies, calendar_of(ZONE))


def naively(policies: list[Policy]) -> list[Stretch]:
    """Every day by itself: who was in force in any of its minutes."""

    def names(day: date) -> frozenset[str]:
        start = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(ZONE))
        following = day + timedelta(days=1)
        end = datetime(following.year, following.month, following.day, tzinfo=ZoneInfo(ZONE))
        return frozenset(
            policy.policy
            for policy in policies
            if policy.since < end
            and (
                policy.until is None
                or policy.until > start
                or (policy.origin == "imported" and policy.until == start)
                or policy.until == policy.since >= start
            )
        )

    each = [DAYS.start + timedelta(days=n) for n in range(DAYS.count)]
    found = []
    for (kind, _), them in groupby(each, lambda day: (names(day), day.month if "monthly" in names(day) else 0)):
        part = list(them)
        if len(kind) <= 1 and "daily" not in kind:
            found.append(Stretch(Days(part[0], part[-1] + timedelta(days=1)), next(iter(kind), "")))
    return found


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-200, 1_100)), max_size=5),
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(-200, 1_000), st.integers(0, 300)), max_size=2),
)
def test_any_policies_equal_a_look_at_each_day(
    changes: list[tuple[str, int]], imports: list[tuple[str, int, int]]
) -> None:
    changes.sort(key=lambda it: it[1])
    imported = [Policy(name, at(first), at(first + hours), "imported") for name, first, hours in imports]
    policies = recorded(*changes) + imported if changes else imported
    assert of(policies) == naively(policies)


def test_the_day_of_a_change_belongs_to_neither_policy() -> None:
    assert of(recorded(("cookie", 0), ("user", 24 * 9 + 10))) == [
        Stretch(days("03-01", "03-09"), "cookie"),
        Stretch(days("03-11", "04-09"), "user"),
    ]
    # at midnight it belongs to the new one, also after clocks were put forward on 9 March
    assert of(recorded(("cookie", 0), ("user", 24 * 19))) == [
        Stretch(days("03-01", "03-19"), "cookie"),
        Stretch(days("03-20", "04-09"), "user"),
    ]


def test_nobody_is_known_again_under_daily_and_within_a_month_only_under_monthly() -> None:
    assert of(recorded(("daily", 0))) == [] == of(recorded(("daily", -5_000)))
    assert of(recorded(("monthly", -100))) == [
        Stretch(days("03-01", "03-31"), "monthly"),
        Stretch(days("04-01", "04-09"), "monthly"),
    ]
    assert of(recorded(("daily", 0), ("cookie", 24 * 30))) == [Stretch(days("03-31", "04-09"), "cookie")]


def test_days_of_no_known_policy_are_a_stretch_of_their_own() -> None:
    assert of([]) == [Stretch(DAYS, "")]
    assert of(recorded(("cookie", 240))) == [
        Stretch(days("03-01", "03-10"), ""),
        Stretch(days("03-11", "04-09"), "cookie"),
    ]


def test_an_import_by_the_day_takes_its_days_out() -> None:
    imported = Policy("daily", at(50), at(60), "imported")
    assert [it.days for it in of([*recorded(("cookie", -10)), imported])] == [
        days("03-01", "03-02"),
        days("03-04", "04-09"),
    ]


def test_the_longest_stretch_is_shown_and_of_equal_ones_the_last() -> None:
    one, two, long = (
        Stretch(it, "cookie") for it in (days("03-01", "03-02"), days("03-04", "03-05"), days("03-07", "03-12"))
    )
    assert longest([one, two]) == two and longest([one, long, two]) == long and longest([]) is None


def test_what_is_said_of_them() -> None:
    def said(policy: str, of_days: Days = DAYS) -> str:
        return said_of(Stretch(of_days, policy), DAYS)

    part = days("03-03", "03-05")
    assert said("mysite.key") == "" == said("")
    assert "whose policy was “user”" in said("user", part) and "March 3, 2025 to March 5, 2025" in said("user", part)
    assert "not signed in" in said("user") and "a year" in said("cookie") and "no session" in said("session")
    assert "calendar month" in said("monthly", part) and "before the first policy" in said("", part)
    assert "by the day (“daily”)" in why_nobody(recorded(("daily", 0)))
    assert "several policies" in why_nobody(recorded(("daily", 0), ("cookie", 900)))
