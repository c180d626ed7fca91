"""By which rules of its zone a generation is cut: an update of tzdata is told where it makes a difference."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from django_pagestats import backfill, checks, folding
from django_pagestats.buckets import Calendar
from django_pagestats.folding import zones
from django_pagestats.models import Generation
from tests.chains import active_generation, assert_all_counted, expected_aggregates, rows_upto, stored_aggregates
from tests.factories import insert_page_views
from tests.tzdata import HOUR, ZONE, Rules, rules

pytestmark = pytest.mark.usefixtures("no_settling")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[arg-type,misc]


#: the clocks of two years, and the same after updates
USUAL: Rules = [
    (utc(2024, 3, 31, 1), HOUR),
    (utc(2024, 10, 27, 1), 0),
    (utc(2025, 3, 30, 1), HOUR),
    (utc(2025, 10, 26, 1), 0),
]
NO_CHANGE_IN_2025: Rules = USUAL[:3]
A_WEEK_LATER: Rules = [USUAL[0], (utc(2024, 11, 3, 1), 0), *USUAL[2:]]
OTHERS_IN_1980: Rules = [(utc(1980, 4, 6), HOUR), (utc(1980, 10, 5), 0), *USUAL]

TOLD = f"The aggregates are cut by other rules of {ZONE}"


@pytest.fixture(autouse=True)
def dublin(settings: Any) -> None:
    settings.PAGESTATS_TIME_ZONE = ZONE


def record(*moments: datetime) -> None:
    insert_page_views([("/", f"k{number}", moment) for number, moment in enumerate(moments)])


def keep_up() -> None:
    folding.keep_up("default", seconds=10)


def is_told() -> bool:
    return TOLD in folding.other_zone("default")


@pytest.mark.django_db
def test_rules_that_changed_for_what_was_folded_are_told_wherever_somebody_looks(
    tmp_path: Path, admin_client: Client
) -> None:
    record(utc(2024, 6, 1), utc(2024, 10, 28, 23, 30), utc(2024, 12, 1))
    with rules(tmp_path, USUAL):
        call_command("backfill_aggregates", sync=True, verbosity=0)
        assert not is_told()
        assert not checks.check_databases(databases=["default"])
    with rules(tmp_path, A_WEEK_LATER):
        (message,) = checks.check_databases(databases=["default"])
        assert message.id == "pagestats.W035" and "tzdata" in message.msg and "--rebuild" in str(message.hint)
        assert TOLD in said("backfill_aggregates", "--status")
        assert TOLD in said("backfill_aggregates", "--sync")
        with pytest.raises(CommandError):
            call_command("verify_aggregates", stdout=(out := StringIO()))
        assert TOLD in out.getvalue()
        page = admin_client.get("/admin/django_pagestats/backfillrun/").content.decode()
        assert TOLD in page.replace("&#x27;", "'")
        backfill.run_here("default", kind="rebuild", via="test")
        assert not is_told()
        assert not checks.check_databases(databases=["default"])
        assert_all_counted()


def said(*words: str) -> str:
    call_command(*words, stdout=(out := StringIO()))
    return out.getvalue()


@pytest.mark.django_db
def test_rules_of_the_future_are_no_difference_until_page_views_are_of_it(tmp_path: Path) -> None:
    """The usual update of tzdata: a change is announced before it comes."""
    record(utc(2024, 6, 1), utc(2025, 6, 1))
    with rules(tmp_path, USUAL):
        keep_up()
    with rules(tmp_path, NO_CHANGE_IN_2025):
        assert not is_told()
        record(utc(2025, 12, 1, 23, 30))
        keep_up()
        assert not is_told()
        assert_all_counted()
    with rules(tmp_path, USUAL):  # a machine without the update
        assert is_told()


@pytest.mark.django_db
def test_rules_of_the_years_before_the_first_page_view_are_no_difference(tmp_path: Path) -> None:
    record(utc(2024, 6, 1), utc(2025, 6, 1))
    with rules(tmp_path, USUAL):
        keep_up()
    with rules(tmp_path, OTHERS_IN_1980):
        assert not is_told()
        record(utc(1980, 6, 1, 23, 30))
        keep_up()
        assert not is_told()
        assert_all_counted()
    with rules(tmp_path, USUAL):
        assert is_told()


@pytest.mark.django_db
def test_what_was_folded_by_two_machines_with_different_rules_is_told_by_both(tmp_path: Path) -> None:
    record(utc(2024, 6, 1), utc(2025, 6, 1))
    with rules(tmp_path, USUAL):
        keep_up()
    record(utc(2024, 10, 28, 23, 30))
    with rules(tmp_path, A_WEEK_LATER):
        keep_up()
        assert is_told()
    with rules(tmp_path, USUAL):
        assert is_told()
        assert active_generation().zone_rules[2] == zones.MIXED
        record(utc(2025, 6, 2))
        keep_up()
        assert is_told(), "until a rebuild"
        backfill.run_here("default", kind="rebuild", via="test")
        assert not is_told()
        assert_all_counted()


@pytest.mark.django_db
def test_where_nobody_knows_the_rules_nothing_is_said(tmp_path: Path) -> None:
    record(utc(2024, 6, 1), utc(2025, 6, 1))
    with rules(tmp_path, USUAL):
        keep_up()
        Generation.objects.update(zone_rules=None)
    record(utc(2024, 6, 1))
    with rules(tmp_path, A_WEEK_LATER):
        assert not is_told()
        keep_up()
        assert not is_told()
        assert active_generation().zone_rules is None


changes = st.lists(
    st.tuples(st.integers(0, 104).map(lambda weeks: utc(2024, 1, 1) + timedelta(weeks=weeks)), st.integers(-12, 12)),
    max_size=4,
    unique_by=lambda change: change[0],
).map(lambda found: [(at, offset * HOUR // 2) for at, offset in sorted(found)])
moments = st.lists(
    st.integers(0, 2 * 366 * 24).map(lambda hours: utc(2024, 1, 1) + timedelta(hours=hours)), min_size=1, max_size=5
)


class RulesTest(TestCase):
    @settings(max_examples=25 if connection.vendor == "sqlite" else 10)
    @given(st.tuples(changes, changes), st.lists(st.tuples(st.booleans(), moments), min_size=1, max_size=4))
    def test_where_nothing_is_told_the_aggregates_are_those_of_this_machines_rules(
        self, machines: tuple[Rules, Rules], ticks: list[tuple[bool, list[datetime]]]
    ) -> None:
        """Two machines keep up by turns, each by its own rules."""
        with override_settings(PAGESTATS_TIME_ZONE=ZONE, PAGESTATS_SETTLE_SECONDS=0):
            for which, found in ticks:
                record(*found)
                with rules(self.folder(), machines[which]):
                    keep_up()
            for machine in machines:
                with rules(self.folder(), machine):
                    generation = active_generation()
                    is_right = stored_aggregates(generation.pk) == expected_aggregates(
                        rows_upto(), ZONE, all_cursor=generation.all_cursor
                    )
                    assert is_right or is_told()
                    assert machines[0] != machines[1] or not is_told()

    def folder(self) -> Path:
        return Path(self.tmp_path)

    @pytest.fixture(autouse=True)
    def a_folder(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path


# -- the offsets of a calendar


@pytest.mark.parametrize(
    ("zone", "year", "count"),
    [
        ("Africa/Casablanca", 2012, 4),  # not in Ramadan
        ("America/Noronha", 2000, 3),  # the last two for a week
        ("Australia/Lord_Howe", 2025, 2),  # at half past, by half an hour
        ("Pacific/Apia", 2011, 3),  # a day left out
        ("UTC", 2025, 0),
    ],
)
def test_no_change_of_offset_is_passed_over(zone: str, year: int, count: int) -> None:
    calendar = Calendar(zone)
    seconds = range(round(utc(year, 1, 1).timestamp()), round(utc(year + 1, 1, 1).timestamp()), HOUR // 2)
    first, *found = calendar.offsets(seconds[0], seconds[-1])
    assert len(found) == count
    offsets = {first[0]: first[1], **dict(found)}
    offset = None
    for second in seconds:
        offset = offsets.get(second, offset)
        assert calendar.offset(second) == offset, second


def test_the_first_and_the_last_instants_have_offsets() -> None:
    calendar = Calendar("Pacific/Apia")
    assert calendar.offsets(-62_135_400_000, -62_135_300_000)[1:] == []
    assert calendar.offsets(253_402_200_000, 253_402_210_000)[1:] == []
