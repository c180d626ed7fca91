"""Salts: one for each period, whoever asks first, and gone when their time is over."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection, connections, transaction

from django_pagestats import salts
from django_pagestats.models import Salt

#: a quarter past midnight in Berlin, in summer
MIDNIGHT = datetime(2100, 6, 30, 22, tzinfo=timezone.utc)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def berlin(settings: Any) -> None:
    settings.PAGESTATS_TIME_ZONE = "Europe/Berlin"


def periods() -> list[str]:
    return list(Salt.objects.order_by("period").values_list("period", flat=True))


class TestHash:
    def test_is_22_characters_that_a_url_may_have(self) -> None:
        assert salts.keyed_hash(b"salt", "192.0.2.1", "agent") == salts.keyed_hash(b"salt", "192.0.2.1", "agent")
        assert len(salts.keyed_hash(b"salt", "")) == 22
        assert set(salts.keyed_hash(b"salt", "\ud800".encode("utf-8", "replace").decode())) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        )

    def test_depends_on_salt_and_parts(self) -> None:
        hashes = {
            salts.keyed_hash(b"salt", "a", "b"),
            salts.keyed_hash(b"tlas", "a", "b"),
            salts.keyed_hash(b"salt", "ab"),
            salts.keyed_hash(b"salt", "b", "a"),
        }
        assert len(hashes) == 4


class TestPeriods:
    def test_are_local(self) -> None:
        assert salts.day_of(MIDNIGHT - timedelta(microseconds=1)) == "2100-06-30"
        assert salts.day_of(MIDNIGHT) == "2100-07-01"
        assert salts.month_of(MIDNIGHT) == "2100-07"

    @pytest.mark.parametrize("period", ["2100-06-30", "2100-06"])
    def test_are_over_two_hours_after_their_end(self, period: str) -> None:
        assert not salts.is_over(period, MIDNIGHT + timedelta(hours=2) - timedelta(seconds=1))
        assert salts.is_over(period, MIDNIGHT + timedelta(hours=2))

    def test_a_permanent_one_is_never_over(self) -> None:
        assert not salts.is_over(salts.PERMANENT, MIDNIGHT + timedelta(days=10_000))


class TestSalt:
    def test_is_the_same_for_all_who_ask(self) -> None:
        first = salts.salt("2100-07-01")
        salts.forget()
        assert salts.salt("2100-07-01") == first
        assert len(first) == salts.SALT_BYTES
        assert salts.salt("2100-07-02") != first

    def test_what_may_be_rolled_back_is_not_remembered(self) -> None:
        try:
            with transaction.atomic():
                undone = salts.salt("2100-07-01")
                raise InterruptedError
        except InterruptedError:
            pass
        assert salts.salt("2100-07-01") != undone

    def test_those_whose_time_is_over_are_deleted_here_and_there(self) -> None:
        for period in ("2100-06-30", "2100-07-01", "2100-06", "2100-07", salts.PERMANENT):
            salts.salt(period)
        assert salts.delete_expired(now=MIDNIGHT + timedelta(hours=2)) == 2
        assert periods() == ["2100-07", "2100-07-01", salts.PERMANENT]
        assert salts.delete_expired(now=MIDNIGHT + timedelta(hours=2)) == 0

    def test_whoever_asks_deletes_old_ones(self) -> None:
        Salt.objects.create(period="2020-01-01", value=b"old")
        salts.salt("2100-07-01")
        assert "2020-01-01" not in periods()


@pytest.mark.django_db(transaction=True)
class TestRemembered:
    def test_asked_once(self, django_assert_num_queries: Any) -> None:
        first = salts.salt("2100-07-01")
        with django_assert_num_queries(0):
            assert salts.salt("2100-07-01") == first

    def test_each_tenants_schema_has_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As under django-tenants, whose connections know their schema: here both have one table, emptied between."""
        found = {}
        for schema in ("one", "two"):
            monkeypatch.setattr(connections["default"], "schema_name", schema, raising=False)
            found[schema] = salts.salt("2100-07-01")
            Salt.objects.all().delete()
        assert found["one"] != found["two"]
        monkeypatch.setattr(connections["default"], "schema_name", "one", raising=False)
        assert salts.salt("2100-07-01") == found["one"]

    def test_memory_goes_with_the_row(self) -> None:
        first = salts.salt("2100-06-30")
        salts.delete_expired(now=MIDNIGHT + timedelta(hours=2))
        assert salts.salt("2100-06-30") != first

    def test_two_at_midnight_have_one_salt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Both have looked and found none before either inserts: whoever is second takes the first one's."""
        both_have_looked = threading.Barrier(2)
        token_bytes = salts.secrets.token_bytes

        def meet(count: int) -> bytes:
            if connection.vendor != "sqlite":  # there the second waits for the first before it may look
                both_have_looked.wait(10)
            return token_bytes(count)

        monkeypatch.setattr(salts.secrets, "token_bytes", meet)
        found: list[bytes] = []

        def ask() -> None:
            found.append(salts._stored("2100-07-01", "default"))
            connections.close_all()

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(found) == 2
        assert found[0] == found[1]
        assert periods() == ["2100-07-01"]

    def test_a_clock_that_is_five_minutes_slow(self) -> None:
        """The server whose clock is slow has the salt of its own day, and both share each day's."""
        ahead = salts.salt(salts.day_of(MIDNIGHT + timedelta(minutes=1)))
        salts.forget()
        behind = salts.salt(salts.day_of(MIDNIGHT - timedelta(minutes=4)))
        salts.delete_expired(now=MIDNIGHT + timedelta(minutes=1))
        salts.forget()
        assert salts.salt(salts.day_of(MIDNIGHT - timedelta(minutes=1))) == behind
        assert salts.salt(salts.day_of(MIDNIGHT + timedelta(minutes=6))) == ahead
        assert periods() == ["2100-06-30", "2100-07-01"]
