"""A range of days alone: what is wrong in it is found, what is wrong beside it is not, and little more is read."""

from __future__ import annotations

import json
import threading
from datetime import date, datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats import folding
from django_pagestats.buckets import Calendar, Granularity, day_number
from django_pagestats.models import Aggregate, Dimension, Generation, PageView
from django_pagestats.verify import Verification, counting, shares_snapshots, within
from tests.factories import insert_page_views, make_page_views
from tests.stats_oracle import clean, fold_naively
from tests.test_stats import ZONES, sites
from tests.test_verify import fold

pytestmark = pytest.mark.usefixtures("no_settling")

DAY = date(2025, 3, 5)
EXAMPLES = max(2, (settings.default.max_examples if settings.default else 100) // 6)


def found(start: date | None, end: date | None, **options: Any) -> list[str]:
    return [str(difference) for difference in Verification("default", start=start, end=end, **options)]


def of_days(whole: list[str], start: date | None, end: date | None) -> list[str]:
    """Those differences of a whole verification that are of the hours and days of a range."""
    kept = []
    for line in whole:
        words = line.split()
        time = next((words[n + 1] for n, word in enumerate(words) if word in ("day", "hour")), "")
        day = date.fromisoformat(time) if time else None
        if day is not None and (start is None or day >= start) and (end is None or day < end):
            kept.append(line)
    return kept


@pytest.mark.django_db(transaction=True)
def test_of_any_range_it_tells_what_the_whole_verification_tells_of_it() -> None:
    """In any zone, with any rows damaged, deleted or made up, and page views of its days that are not folded yet."""

    @settings(max_examples=EXAMPLES)
    @given(sites(), st.integers(-4, 4), st.integers(0, 5), st.integers(0, 3), st.data())
    def check(site: Any, first: int, length: int, bounds: int, data: st.DataObject) -> None:
        zone, views, folded, all_time, _ = site
        clean()
        insert = insert_page_views(views)
        if not folded:
            return
        fold_naively(insert[:folded], zone, all_time=all_time)
        rows = list(Aggregate.objects.exclude(granularity=Granularity.ALL))
        damaged = data.draw(st.lists(st.sampled_from(rows), max_size=4, unique_by=lambda row: row.pk))
        for row in damaged:
            wrong = Aggregate.objects.filter(pk=row.pk)
            how = data.draw(st.sampled_from(["page_views", "visitor_set", "repeat_set", "delete", "move"]))
            if how == "delete":
                wrong.delete()
            elif how == "move":
                wrong.update(bucket=row.bucket + 1_000)
            else:
                wrong.update(**{how: 77 if how == "page_views" else b"no set"})
        calendar = Calendar(zone)
        middle = day_number(ZONES[zone].date()) + first
        start, end = within.dates(counting.Group(*sorted((middle, middle + length))))
        start, end = start if bounds & 1 else None, end if bounds & 2 else None
        verification = Verification("default", start=start, end=end)
        told = [str(difference) for difference in verification]
        if (start is None and end is None) or (start is not None and start == end):
            assert start is None or told == []
            return
        compared = within.dates(within.days_of(calendar, start, end))
        assert verification.days == compared
        assert compared[0] is None or (start is not None and start - timedelta(days=2) <= compared[0] <= start)
        wanted = of_days(found(None, None), *compared)
        assert sorted(told) == sorted(wanted)

    check()


@pytest.mark.django_db
def test_only_the_range_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a table in order of time; where an import brought old ones, what lies between is passed over."""
    monkeypatch.setattr(counting, "PORTION_ROWS", 20)
    make_page_views(600, days=30, paths=5)
    views = sorted(PageView.objects.values_list("path", "session_key", "viewed_at"), key=lambda view: view[2])
    PageView.objects.all().delete()
    insert_page_views(views)
    fold()
    start, end = DAY, DAY + timedelta(days=3)
    of_range = PageView.objects.filter(viewed_at__gte=start_of(start), viewed_at__lt=start_of(end))
    verification = Verification("default", start=start, end=end)
    assert list(verification) == []
    assert verification.page_views == of_range.count() > 0
    days = within.days_of(Calendar("UTC"), start, end)
    keys = within.keys_of("default", Generation.objects.get().cursor, Calendar("UTC"), days)
    assert keys.upto - (keys.after or 0) == keys.page_views
    insert_page_views([("/late", "late", start_of(start)), ("/other", "late", start_of(end))])
    folding.keep_up("default", seconds=10)
    Aggregate.objects.filter(dimension=Dimension.PAGE, bucket=day_number(end)).update(page_views=99)
    verification = Verification("default", start=start, end=end)
    assert list(verification) == [] and verification.page_views == of_range.count()
    assert found(end, end + timedelta(days=1)) != []


def start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)


@pytest.mark.django_db
def test_days_of_before_a_pruning_are_compared_with_themselves() -> None:
    make_page_views(300, days=10)
    fold()
    start, pruned = DAY - timedelta(days=2), DAY
    Generation.objects.update(pruned_before=pruned)
    PageView.objects.filter(viewed_at__lt=start_of(pruned)).delete()
    assert found(start, DAY + timedelta(days=1)) == []
    frozen = Aggregate.objects.filter(dimension=Dimension.SITE, granularity=Granularity.DAY)
    frozen.filter(bucket=day_number(start)).update(visitors=1_000)
    assert len(found(start, DAY)) == len(found(start, DAY + timedelta(days=1))) == 1
    assert found(start + timedelta(days=1), None) == []


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_in_several_processes_it_is_the_same() -> None:
    if not shares_snapshots("default"):
        pytest.skip("only PostgreSQL shares a snapshot")
    make_page_views(300, paths=20, days=12)
    fold()
    Aggregate.objects.filter(dimension=Dimension.PAGE, bucket=day_number(DAY)).update(page_views=77)
    connection.close()
    one = found(DAY - timedelta(days=2), DAY + timedelta(days=3))
    assert len(one) > 3 and found(DAY - timedelta(days=2), DAY + timedelta(days=3), processes=3) == one


@pytest.mark.django_db
def test_the_command_has_the_same_output_and_exit_status_of_a_range() -> None:
    make_page_views(300, days=10)
    generation = fold()
    Aggregate.objects.filter(dimension=Dimension.SITE, bucket=day_number(DAY)).update(page_views=77)
    days = {"start": "2025-03-05", "end": "2025-03-06"}
    out = StringIO()
    with pytest.raises(CommandError, match="1 difference"):
        call_command("verify_aggregates", stdout=out, **days)
    line, summary = out.getvalue().splitlines()
    assert line.startswith("site day 2025-03-05 (20152): page views: 77 stored, ")
    assert summary.startswith(f"Generation {generation.pk}, days from 2025-03-05 and before 2025-03-06: compared ")
    out = StringIO()
    call_command("verify_aggregates", stdout=out, start="2025-03-06", json=True)
    told = json.loads(out.getvalue())
    assert (told["start"], told["end"], told["difference_count"]) == ("2025-03-06", None, 0)
    out = StringIO()
    with pytest.raises(CommandError, match="1 difference"):
        call_command("verify_aggregates", stdout=out, start="0001-01-01", end="9999-12-31")
    assert f"Generation {generation.pk}, days from 0001-01-01 and before 9999-12-31: compared " in out.getvalue()
    for wrong, words in (
        ({"start": "soon"}, "--start soon: a date such as"),
        ({"start": "2025-03-06", "end": "2025-03-05"}, "is after --end"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("verify_aggregates", **wrong)
    out = StringIO()
    with pytest.raises(CommandError, match="difference"):
        call_command("verify_aggregates", stdout=out)


@pytest.mark.django_db(transaction=True)
def test_no_false_alarm_while_page_views_come_and_are_folded() -> None:
    """Page views of the very days, and their fold, between any two differences that it might tell."""
    make_page_views(400, days=6)
    fold()
    stop, errors = threading.Event(), []

    def fold_on() -> None:
        try:
            n = 0
            while not stop.is_set():
                n += 1
                insert_page_views([(f"/new{n}", f"new{n}", start_of(DAY) + timedelta(minutes=n))])
                folding.keep_up("default", seconds=0.2)
        except Exception as error:  # told by the test
            errors.append(error)
        finally:
            connection.close()

    other = threading.Thread(target=fold_on)
    other.start()
    cursors = set()
    try:
        for _ in range(8):
            verification = Verification("default", start=DAY, end=DAY + timedelta(days=1))
            assert [str(difference) for difference in verification] == []
            assert verification.generation is not None
            cursors.add(verification.generation.cursor)
    finally:
        stop.set()
        other.join()
    assert errors == [] and len(cursors) > 1
