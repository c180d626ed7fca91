"""Whatever happens to a site, every answer equals a naive count: before a backfill, during it and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from django_pagestats import stats
from django_pagestats.buckets import Calendar, instant
from django_pagestats.conf import conf
from django_pagestats.dimensions import ENTRY, of_settings, stored
from django_pagestats.exceptions import TailTooLongError, UnknownDimensionError
from django_pagestats.models import Generation
from tests.chains import DIMENSIONS, ZONES, Site, active_generation, page_views, rows_upto, small_steps, steps
from tests.factories import Row, View
from tests.named import named_dimensions
from tests.stats_oracle import Oracle, as_outside_transactions

#: each asks some twenty questions after every step; a server's round trips take most of the time
FEWER = 3 if connection.vendor == "sqlite" else 8
EXAMPLES = max(1, (settings.default.max_examples if settings.default else 100) // FEWER)


@dataclass
class Visit:
    """Somebody looks at the statistics: all of them, and those near one of the page views.

    Of named dimensions there are too many questions: some of them each time, and others the next time.
    """

    tail_limit: int
    nth: int
    days_before: int
    days: int
    #: whether answers are kept, as outside of a test's transaction, and asked for twice
    is_kept: bool
    looks: int = 0

    def look(self) -> None:
        generation = Generation.objects.filter(is_active=True).first()
        rows = rows_upto()
        zone = generation.time_zone if generation else conf.TIME_ZONE
        megabytes = 64 if self.is_kept else 0
        with (
            override_settings(PAGESTATS_TAIL_LIMIT=self.tail_limit, PAGESTATS_ANSWERS_MEGABYTES=megabytes),
            as_outside_transactions(),
        ):
            for _ in range(2 if self.is_kept else 1):
                self.ask_for_all(Oracle(rows, zone), generation)
                self.ask_for_days(Oracle(rows, zone), rows[self.nth % len(rows)])
                self.ask_for_hours(Oracle(rows, zone), rows[self.nth % len(rows)])
            dimensions = generation.dimensions if generation else stored(of_settings(known_dimensions()))
            tail = sum(generation is None or row.id > generation.cursor for row in rows)
            self.looks += 1
            InDimensions(Oracle(rows, zone, dimensions), rows[self.nth % len(rows)], self, tail > self.tail_limit).ask()

    def ask_for_all(self, oracle: Oracle, generation: Generation | None) -> None:
        assert stats.count_page_views() == oracle.page_views()
        assert stats.count_unique_visitors() == oracle.visitors()
        assert stats.count_paths() == oracle.paths()
        assert stats.top_pages(100) == oracle.top_pages()
        tail = [row for row in oracle.rows if generation is None or row.id > generation.cursor]
        summary = stats.summary()
        assert summary == stats.Summary(
            page_views=oracle.page_views(),
            visitors=oracle.visitors(),
            paths=oracle.paths(),
            first_viewed_at=min(row.viewed_at for row in oracle.rows),
            pending=len(tail) if len(tail) <= self.tail_limit else summary.pending,  # then it is the ids they span
            pending_is_exact=len(tail) <= self.tail_limit,
            is_exact=True,
        )
        assert summary.pending >= len(tail)

    def ask_for_days(self, oracle: Oracle, near: Row) -> None:
        start = near.viewed_at.astimezone(ZoneInfo(oracle.zone)).date() - timedelta(days=self.days_before)
        end = start + timedelta(days=self.days)
        for path in (None, near.path):
            assert stats.time_series("day", start, end, path=path) == oracle.days(start, end, path)
            assert stats.count_page_views(path, end=end) == oracle.page_views(path, None, end)
            assert stats.count_page_views(path, start=start, end=end) == oracle.page_views(path, start, end)
            assert stats.count_unique_visitors(path, start=start) == oracle.visitors(path, start, None)
            assert stats.count_unique_visitors(path, start=start, end=end) == oracle.visitors(path, start, end)
        assert stats.count_paths(start=start, end=end) == oracle.paths(start, end)
        assert stats.top_pages(2, offset=1, start=start) == oracle.top_pages(start, None)[1:3]
        assert stats.top_pages(100, start=start, end=end) == oracle.top_pages(start, end)

    def ask_for_hours(self, oracle: Oracle, near: Row) -> None:
        calendar = Calendar(oracle.zone)
        hour = calendar.hour(int(near.viewed_at.timestamp() // 1))
        start, end = (
            instant(calendar.hour_start(hour + hours)).astimezone(ZoneInfo(oracle.zone))
            for hours in (-self.days_before, self.days)
        )
        assert stats.time_series("hour", start, end) == oracle.hours(start, end)
        if all(calendar.begins_day(int(bound.timestamp())) for bound in (start, end)):
            return  # days, of which each may be in two parts, are counted as days
        within = Oracle([row for row in oracle.rows if start <= row.viewed_at < end])
        assert stats.count_page_views(start=start, end=end) == within.page_views()
        assert stats.count_unique_visitors(start=start, end=end) == within.visitors()


class InDimensions:
    """The questions about named dimensions, visits and sets of visitors, of which a long tail answers none."""

    def __init__(self, oracle: Oracle, near: Row, visit: Visit, tail_is_long: bool) -> None:
        self.oracle = oracle
        self.near = near
        self.tail_is_long = tail_is_long
        start = near.viewed_at.astimezone(ZoneInfo(oracle.zone)).date() - timedelta(days=visit.days_before)
        end = start + timedelta(days=visit.days)
        self.days = start, end
        self.spans = turned([{}, {"start": start}, {"end": end}, {"start": start, "end": end}], visit.looks)
        there_are = [it.name for it in named_dimensions(oracle.dimensions)]
        assert [it.name for it in stats.dimensions()] == there_are
        self.names = turned(there_are, 2 * visit.looks)[:2]
        self.missing = turned(sorted({*chain.from_iterable(DIMENSIONS)}.difference(there_are)), visit.looks)[:1]

    def ask(self) -> None:
        for name in self.names:
            self.ask_for(name, self.spans[0])
        for name in self.missing:
            with pytest.raises(UnknownDimensionError):
                stats.top(name)
        self.ask_for_visits(self.spans[1])
        self.ask_for_single_page_visitors(self.spans[2])
        self.ask_for_sets()

    def agree(self, counted: object, ask: Callable[..., object], *args: Any, **wanted: Any) -> None:
        """The answer is what is counted, unless the tail is a long one: then there is none."""
        if self.tail_is_long:
            with pytest.raises(TailTooLongError):
                ask(*args, **wanted)
        else:
            assert ask(*args, **wanted) == counted

    def ask_for(self, name: str, span: dict[str, Any]) -> None:
        oracle, agree = self.oracle, self.agree
        where = {name: oracle.value(self.near, name) or "DE"}
        agree(oracle.top(name, **span), top, name, 100, **span)
        agree(oracle.top(name, **span)[1:3], top, name, 2, offset=1, **span)
        agree(oracle.values(name, **span), stats.count_values, name, **span)
        agree(oracle.page_views(where=where, **span), stats.count_page_views, where=where, **span)
        agree(oracle.visitors(where=where, **span), stats.count_unique_visitors, where=where, **span)
        agree(oracle.days(*self.days, where=where), stats.time_series, "day", *self.days, where=where)

    def ask_for_visits(self, span: dict[str, Any]) -> None:
        sources = [it.source for it in named_dimensions(self.oracle.dimensions)]
        for path in (None, self.near.path):
            if ENTRY in sources or (path is None and "source" in sources):
                self.agree(self.oracle.visits(path, **span), stats.count_visits, path, **span)
            else:
                with pytest.raises(UnknownDimensionError):
                    stats.count_visits(path, **span)

    def ask_for_single_page_visitors(self, span: dict[str, Any]) -> None:
        try:
            self.agree(self.oracle.single_page_visitors(**span), stats.count_single_page_visitors, **span)
        except UnknownDimensionError:
            assert self.oracle.dimensions is None, "only a generation of before does not know who came again"

    def ask_for_sets(self) -> None:
        """Some, and what follows from them: whose answers are those of sets of session keys."""
        topics: list[dict[str, Any]] = [{}, {"path": self.near.path}]
        topics += [{"where": {name: self.oracle.value(self.near, name) or "DE"}} for name in self.names]
        asked = [{**topic, **span} for topic, span in zip(topics, self.spans, strict=False)]
        with stats.snapshot() as snapshot:
            if self.tail_is_long:
                with pytest.raises(TailTooLongError):
                    snapshot.visitors()
                return
            sets = [(snapshot.visitors(**it), self.oracle.keys(**it)) for it in asked]
        for (a, x), (b, y) in product(sets, sets):
            assert (len(a), bool(a)) == (len(x), bool(x))
            assert [len(a & b), len(a | b), len(a - b)] == [len(x & y), len(x | y), len(x - y)]
            assert (a.isdisjoint(b), a <= b, a == b) == (x.isdisjoint(y), x <= y, x == y)
        for (a, x), (b, y), (c, z) in zip(sets, sets[1:], sets[2:], strict=False):
            assert len((a | b) - c) == len((x | y) - z)
            assert len(a - (b & c)) == len(x - (y & z))


def turned(things: list[Any], by: int) -> list[Any]:
    """The same, from another one on."""
    start = by % len(things) if things else 0
    return [*things[start:], *things[:start]]


def top(name: str, limit: int, **wanted: Any) -> list[tuple[str, int, int]]:
    return [(it.value, it.page_views, it.visitors) for it in stats.top(name, limit, **wanted)]


def known_dimensions() -> list[Any]:
    """Those of all generations there ever were, whose numbers the next one goes on with."""
    return list(Generation.objects.order_by("pk").values_list("dimensions", flat=True))


#: a long tail and a short one; ranges with the page view, and ranges before it
visits = st.builds(
    Visit, st.sampled_from([2, 1_000]), st.integers(0, 99), st.integers(0, 3), st.integers(1, 4), st.booleans()
)


class OracleTest(TestCase):
    @settings(max_examples=EXAMPLES)
    @given(page_views, st.lists(steps, min_size=4, max_size=12), st.sampled_from(ZONES), visits)
    def test_whatever_happens_every_answer_equals_a_naive_count(
        self, first: list[View], script: list[tuple[Any, ...]], zone: str, visit: Visit
    ) -> None:
        with override_settings(PAGESTATS_SETTLE_SECONDS=0), small_steps():
            site = Site(visit.look)
            site.play([("record", first), *script])
            site.finish()
            before = active_generation()
            site.play([("move_to", zone), ("record", first), ("here", "rebuild", 15, None, True), ("sweep",)])
            assert active_generation().time_zone == zone
            kept = list(Generation.objects.exclude(kept_at=None).order_by("pk"))
            site.play([("activate", kept.index(before), True), ("record", first), ("keep_up",), ("sweep",)])
            assert active_generation() == before
            site.play([("activate", -1, False), ("sweep",)])
            assert active_generation().time_zone == zone
