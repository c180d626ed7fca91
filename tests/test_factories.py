"""The builders and the oracle themselves: other tests rest on them."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest

from django_pagestats.conf import conf
from django_pagestats.models import PageView
from tests.factories import Row, count_naively, expected_aggregates, make_page_views


@pytest.mark.django_db
def test_what_is_made_is_what_is_stored() -> None:
    rows = make_page_views(3_000, seed=7)
    stored = [Row(*values) for values in PageView.objects.order_by("pk").values_list(*Row._fields)]
    assert stored == rows
    assert sorted(rows, key=lambda row: row.viewed_at) == rows


@pytest.mark.django_db
def test_the_shape_is_realistic() -> None:
    count = count_naively(make_page_views(5_000, seed=1))
    pages = sorted((page.page_views for page in count.pages.values()), reverse=True)
    assert pages[0] > 5 * pages[9]
    assert 500 < count.visitors < 1_251
    assert len(count.days) == 40


def test_the_oracle_counts_by_the_local_day_and_hour() -> None:
    rows = [
        Row(1, "/a", "x", datetime(2025, 3, 29, 18, 14, 59, tzinfo=timezone.utc)),
        Row(2, "/a", "x", datetime(2025, 3, 29, 18, 15, 0, tzinfo=timezone.utc)),
        Row(3, "/b", "y", datetime(2025, 3, 29, 18, 15, 0, 1, tzinfo=timezone.utc)),
    ]
    count = count_naively(rows, "Asia/Kathmandu")
    assert {day: (it.page_views, it.visitors) for day, it in count.days.items()} == {
        date(2025, 3, 29): (1, 1),
        date(2025, 3, 30): (2, 2),
    }
    assert [it.page_views for it in count.hours.values()] == [1, 2]
    assert count_naively(rows, "Asia/Kathmandu", path="/a", start=date(2025, 3, 30)).page_views == 1
    day = (date(2025, 3, 30) - date(1970, 1, 1)).days
    assert expected_aggregates(rows, "Asia/Kathmandu")[1, 2, day, ""] == (2, frozenset("xy"), frozenset())


def test_the_oracle_counts_by_each_value_and_knows_who_came_again() -> None:
    noon = datetime(2025, 3, 29, 12, tzinfo=timezone.utc)
    rows = [
        Row(1, "/blog/1", "x", noon, {"source": "news.example", "country": "DE"}),
        Row(2, "/blog/2?a=/b", "x", noon, {"country": "DE"}),
        Row(3, "/", "y", noon),
    ]
    stored = {
        dimension: [{"name": name, "id": dimension, "source": source}]
        for dimension, (name, source) in enumerate(conf.DIMENSIONS.items(), 3)
    }
    found = expected_aggregates(rows)
    for dimension, (named,) in stored.items():
        alone = expected_aggregates(rows, dimensions=[named])
        assert alone.items() <= found.items()
        values = {
            value: tuple(it) for (number, _, bucket, value), it in alone.items() if (number, bucket) == (dimension, 0)
        }
        assert values == {
            "source": {"news.example": (1, {"x"}, None)},
            "entry": {"/blog/1": (1, {"x"}, None)},
            "section": {"blog": (2, {"x"}, None), "/": (1, {"y"}, None)},
            "country": {"DE": (2, {"x"}, None)},
        }.get(named["name"], {})
    assert found[1, 3, 0, ""] == (3, {"x", "y"}, {"x"})
    assert {key[0] for key in expected_aggregates(rows, dimensions=None)} == {1, 2}
