"""What each panel of the dashboard asks: a dozen statements at the most, and no more for years than for days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_pagestats import folding
from django_pagestats.dashboard import page
from django_pagestats.dashboard.scope import scope_of
from django_pagestats.models import Generation
from tests.factories import insert_page_views
from tests.stats_oracle import as_outside_transactions

pytestmark = [pytest.mark.django_db, pytest.mark.once]

NOW = datetime(2026, 11, 18, 14, 30, tzinfo=timezone.utc)
MOST_STATEMENTS = 12
#: the pages of a site that has many are looked up, by two statements more; so are the last of very many sets
MORE_FOR_MORE = 4
#: where page views are not folded: their visitors, values and attributes are looked up, too
MOST_WITH_TAIL = 14


def costs(query: dict[str, str]) -> dict[str, int]:
    """Statements by panel; the sets that totals and chart share count as the totals'."""
    found: dict[str, int] = {}

    def counted(name: str, ask: Callable[[], Any]) -> Any:
        with CaptureQueriesContext(connection) as captured:
            answer = ask()
        found[name] = found.get(name, 0) + len(captured)
        return answer

    with as_outside_transactions(), scope_of(query, using="default", now=NOW, is_public=False) as scope:
        counted("totals", lambda: page.read_ahead(scope))
        totals = counted("totals", lambda: page.totals_of(scope))
        counted("active", lambda: page.active_now(scope, []))
        counted("chart", lambda: page.chart_of(scope, page.points_of(scope), page.notes_of(scope)))
        for kind in scope.kinds:
            counted(str(kind.title), lambda kind=kind: page.table_of(scope, kind, totals))  # type: ignore[misc]
        counted("pages", lambda: page.table_of(scope, page.KIND_OF_PAGES, totals))
        counted("trust", lambda: page.trust_of(scope, totals))
    return found


def record(count: int, *, pages: int, days: int) -> None:
    insert_page_views(
        (
            f"/s{n % 3}/{n % pages}",
            f"key{n % 97}",
            NOW - timedelta(days=n % days, minutes=n % 600),
            {
                "source": f"s{n % 5}",
                "campaign": f"c{n % 3}",
                "country": f"C{n % pages % 40}",
                "browser": "B",
                "device": "D",
            },
        )
        for n in range(count)
    )


def test_no_panel_asks_much_and_none_asks_more_for_years_or_rows(settings: Any) -> None:
    settings.PAGESTATS_ANSWERS_MEGABYTES = 0  # as the first time after a fold
    ranges = [{"range": "28d"}, {"range": "12m"}, {"range": "free", "from": "2023-11-20", "to": "2026-11-18"}]
    every = []
    for count, pages in ((1_300, 12), (2_500, 400)):
        record(count, pages=pages, days=1_280)
        folding.keep_up("default", seconds=60)
        assert Generation.objects.get().cursor > 0
        every += [costs(query) for query in ranges]
    record(300, pages=30, days=2)  # the tail, of known and new pages
    with_tail = [costs(query) for query in ranges]
    assert max(max(found.values()) for found in every) <= MOST_STATEMENTS, every
    assert max(max(found.values()) for found in with_tail) <= MOST_WITH_TAIL, with_tail
    # with more rows, and of three years in place of one
    few = [*every[:3], every[1], every[4], with_tail[1]]
    more = [*every[3:], every[2], every[5], with_tail[2]]
    for before, after in zip(few, more, strict=True):
        assert {it: (before[it], count) for it, count in after.items() if count > before[it] + MORE_FOR_MORE} == {}
