"""Rows whose ids are in stored sets and counts: Django deletes none of them."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.db.models import ProtectedError

from django_pagestats import backfill, stats
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView, Subject, Visitor
from django_pagestats.verify import Verification
from tests.factories import START, insert_page_views

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_settling")]


@pytest.fixture
def folded() -> None:
    insert_page_views([("/a", "somebody", START), ("/b", "other", START), ("/a", "other", START)])
    backfill.run_here("default", via="test")


@pytest.mark.parametrize("model", [Visitor, Subject, Generation])
def test_neither_a_row_nor_a_queryset_is_deleted(model: type, folded: None) -> None:
    BackfillRun.objects.all().delete()  # it protects its generation
    rows = model._default_manager.all()  # type: ignore[attr-defined]
    count = rows.count()
    for delete in (rows.first().delete, rows.delete, model._base_manager.all().delete):  # type: ignore[attr-defined]
        with pytest.raises(ProtectedError, match=rf"{model.__name__} \d+ stays: ") as raised, transaction.atomic():
            delete()
        assert "backfill_aggregates" in str(raised.value) or "Forget somebody" in str(raised.value)
    assert rows.count() == count > 0


def test_a_generation_whose_aggregates_are_gone_may_go() -> None:
    Generation.objects.create(time_zone="UTC", created_at=START, swept_at=START).delete()
    assert not Generation.objects.exists()


def test_who_was_forgotten_as_documented_is_counted_once_and_anew_when_he_returns(folded: None) -> None:
    for model in (PageView, Visitor):
        assert model.objects.filter(session_key="somebody").update(session_key="forgotten-1f") == 1
    assert list(Verification("default")) == []
    assert stats.count_unique_visitors() == 2
    insert_page_views([("/a", "somebody", START)])
    assert stats.count_unique_visitors() == 3
    backfill.run_here("default", via="test")
    assert stats.count_unique_visitors() == 3
    assert list(Verification("default")) == []


def test_a_row_deleted_by_sql_counts_twice_and_verify_says_why(folded: None) -> None:
    gone = Visitor.objects.get(session_key="somebody").pk
    Visitor.objects.filter(pk=gone)._raw_delete("default")
    insert_page_views([("/a", "somebody", START)])
    backfill.run_here("default", via="test")
    assert stats.count_unique_visitors() == 3
    found = [str(difference) for difference in Verification("default")]
    assert any(f"visitor {gone}: no Visitor row" in text and "visitor rows were deleted" in text for text in found)
    assert Aggregate.objects.exists()
