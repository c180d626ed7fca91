"""Rows of hours and days against the page views of those days; frozen ones against themselves."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import F, Q

from django_pagestats.tally import SITE_DAY, SITE_HOUR, SITE_SUBJECT
from django_pagestats.verify.comparing import Comparison
from django_pagestats.verify.counting import PageViews
from django_pagestats.verify.differences import Difference, What
from django_pagestats.verify.groups import Counted, Counts, Group
from django_pagestats.verify.stored import stored_rows


def compare_frozen(comparison: Comparison, days: Group) -> Iterator[Difference]:
    """The rows of days whose page views may be gone: the set against the number of visitors."""
    of_days, of_hours = bounds_of(comparison, days)
    for level in (SITE_HOUR, *comparison.day_levels):
        for row in stored_rows(comparison.rows(level, **(of_hours if level == SITE_HOUR else of_days))):
            comparison.aggregates += 1
            comparison.add_up(level, row)
            comparison.doubt(level, row)
            members = row.visitor_set
            if members is None:
                yield comparison.difference(What.UNREADABLE_SET, level, row.bucket, row.subject)
            elif len(members) != row.visitors:
                yield comparison.difference(
                    What.VISITORS, level, row.bucket, row.subject, stored=row.visitors, counted=len(members)
                )
            else:
                yield from comparison.repeats_of_frozen(level, row, members)


def compare_days(comparison: Comparison, page_views: PageViews, days: Group) -> Iterator[Difference]:
    """The rows of these days, a group of them after another."""
    for counted in page_views.groups(days):
        yield from _compare_group(comparison, counted)


def _compare_group(comparison: Comparison, counted: Counted) -> Iterator[Difference]:
    """The rows of the days of one group."""
    group = counted.group
    comparison.names = dict(counted.unknown)
    days, hours = bounds_of(comparison, group)
    if group.has_site:
        yield from comparison.against_page_views(SITE_HOUR, comparison.rows(SITE_HOUR, **hours), counted.hours())
        days_of_site = counted.days()
        yield from _unknown_visitors(comparison, days_of_site)
        yield from comparison.against_page_views(SITE_DAY, comparison.rows(SITE_DAY, **days), days_of_site)
    for level, counts in counted.of_days():
        rows = comparison.rows(level, **days)
        if group.parts > 1:
            wanted = Q(part=group.part) | Q(subject__lt=0) if group.has_site else Q(part=group.part)
            rows = rows.annotate(part=F("subject") % group.parts).filter(wanted)
        yield from comparison.against_page_views(level, rows, counts)


def bounds_of(comparison: Comparison, group: Group) -> tuple[dict[str, int], dict[str, int]]:
    """The rows of a group's days, and of its hours, as conditions."""
    days: dict[str, int] = {}
    hours: dict[str, int] = {}
    for bound, day in (("bucket__gte", group.first), ("bucket__lt", group.end)):
        if day is not None:
            days[bound] = day
            hours[bound] = comparison.calendar.hour(comparison.calendar.day_start(day))
    return days, hours


def _unknown_visitors(comparison: Comparison, days: Counts) -> Iterator[Difference]:
    for day in sorted(days):
        if unknown := days[day][SITE_SUBJECT].count(None):
            yield comparison.difference(
                What.UNKNOWN_VISITORS,
                SITE_DAY,
                day,
                SITE_SUBJECT,
                counted=unknown,
                detail="page views whose session key has no Visitor row",
            )
