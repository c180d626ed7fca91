"""The check before a switch knows named dimensions: a generation whose sums differ does not come to answer."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import F

from django_pagestats import backfill
from django_pagestats.backfill import switching
from django_pagestats.backfill.switching import Check
from django_pagestats.dimensions import of_generation
from django_pagestats.models import Aggregate, Generation
from testproject import traffic
from tests.chains import Links, active_generation, the_run
from tests.factories import ALL, DAY, START, attributed, insert_page_views
from tests.stats_oracle import fold_naively

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_settling")]


def make(count: int, days: int = 40) -> list[Any]:
    return insert_page_views(
        attributed(traffic.page_views(count, seed=1, paths=9, visitors=20, days=days, start=START))
    )


def dimension(name: str) -> int:
    found = of_generation(Generation.objects.latest("pk").dimensions)
    return next(it.id for it in found if it.name == name)


def checked(generation: Generation, state: dict[str, Any] | None = None) -> tuple[str, int, Check]:
    """What differs, after how many steps, each by somebody who knows the state alone."""
    steps = 0
    while True:
        check = Check("default", generation.pk, generation.cursor, state)
        if check.step():
            return check.difference(), steps, check
        state = check.state
        steps += 1


@pytest.mark.parametrize("name", ["country", "source", "entry", "section"])
@pytest.mark.parametrize("granularity", [DAY, ALL])
def test_days_and_all_time_that_do_not_add_up(name: str, granularity: int) -> None:
    generation = fold_naively(make(60))
    assert checked(generation)[0] == ""
    rows = Aggregate.objects.filter(dimension=dimension(name), granularity=granularity)
    total = sum(rows.values_list("page_views", flat=True))
    victim = rows.order_by("-bucket")[0]
    rows.filter(pk=victim.pk).update(page_views=F("page_views") + 1)
    days, of_all = (total + 1, total) if granularity == DAY else (total, total + 1)
    told, _, check = checked(generation)
    assert told == f"60 page views up to {check.cursor}, but {name}/ALL {of_all} and {name}/DAY {days}"


def test_more_page_views_than_there_are() -> None:
    generation = fold_naively(make(60))
    of_section = Aggregate.objects.filter(dimension=dimension("section"))
    for granularity in (DAY, ALL):
        row = of_section.filter(granularity=granularity)[0]
        of_section.filter(pk=row.pk).update(page_views=F("page_views") + 1)
    assert checked(generation)[0].endswith("but section/ALL 61 and section/DAY 61")


def test_rows_of_all_time_that_do_not_answer_are_not_counted() -> None:
    generation = fold_naively(make(30))
    row = Aggregate.objects.filter(dimension=dimension("country"), granularity=ALL)[0]
    row.pk = (generation.pk, row.dimension, ALL, 1, row.subject)
    row.bucket = 1
    row.save(force_insert=True)
    assert checked(generation)[0] == ""


def test_a_rebuild_that_does_not_add_up_is_not_switched_to() -> None:
    make(40)
    backfill.run_here("default", via="tests")
    old = active_generation()
    links = Links()
    links.start("rebuild", chunk_size=20)
    new = the_run().generation
    assert new is not None
    rows = Aggregate.objects.filter(generation=new.pk, dimension=dimension("country"), granularity=ALL)
    while (victim := rows.first()) is None:
        links.deliver_next()
    rows.filter(pk=victim.pk).delete()
    links.drain()
    assert the_run().status == "failed"
    assert "country/ALL" in the_run().error
    assert active_generation() == old


def test_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switching, "CHECK_VALUE_DAYS", 5)
    generation = fold_naively(make(200, days=40))
    told, steps, check = checked(generation)
    assert told == ""
    # one of page views, two of the days of pages, eight or nine of those of each dimension that has many
    assert 3 + 4 * 8 <= steps <= 3 + 9 * 9
    sums = {it.name: check.state["values"][str(it.id)][0] for it in of_generation(generation.dimensions)}
    assert sums["section"] == 200 > sums["country"] > sums["source"] == sums["entry"] > 0


def test_a_state_of_before_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a check that the release before had begun, with page views and days counted."""
    generation = fold_naively(make(60))
    before = {
        "cursor": generation.cursor,
        "page_views": 60,
        "after": generation.cursor,
        "page_days": 60,
        "from_day": 10**6,
    }
    assert checked(generation, dict(before))[0] == ""
    Aggregate.objects.filter(dimension=dimension("country"), granularity=ALL).delete()
    assert "country/ALL 0" in checked(generation, dict(before))[0]


def test_where_the_cursor_has_moved_the_sums_begin_anew() -> None:
    make(60)
    backfill.run_here("default", via="tests")
    *_, check = checked(active_generation())
    insert_page_views([("/new", "new", START, {"country": "DE"})])
    backfill.run_here("default", via="tests")
    assert checked(active_generation(), check.state)[0] == ""


def test_a_generation_of_before_has_none_to_sum() -> None:
    generation = fold_naively(make(30), dimensions=None)
    told, _, check = checked(generation)
    assert (told, check.state["values"]) == ("", {})
