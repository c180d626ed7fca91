"""Page views that no answer could count: the database refuses them; those that are there all the same are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import DataError, IntegrityError, OperationalError, connection, transaction

from django_pagestats import folding, intake, stats
from django_pagestats.exceptions import UncountablePageViewError
from django_pagestats.merging import database_for
from django_pagestats.models import Aggregate, BackfillRun, Generation, PageView
from django_pagestats.verify import Verification, What
from tests.chains import Links, only_on, the_run
from tests.factories import make_page_views, rows_of_any_kind

GOOD = "2025-03-01 12:00:00"
PATH = "pagestats_path_not_empty_no_nul"
KEY = "pagestats_session_key_not_empty_no_nul"
TIME = "pagestats_viewed_at_1970_to_2199"
#: SQL of a time, where the server's sql_mode (MariaDB) lets it in as far as the type goes
BAD_TIMES = {
    "mysql": ["'9999-12-31 23:59:59'", "'0000-00-00'", "'2025-00-10'", "'2025-02-00'", "'2025-02-30'", "'nonsense'",
              "'1969-12-31 23:59:59'", "'2200-01-01'"],
    "postgresql": ["'9999-12-31'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'1969-12-31 23:59:59+00'",
                   "'2200-01-01 00:00:00+00'"],
    "sqlite": ["'9999-12-31 23:59:59'", "''", "1740830400", "2460736.0", "'1740830400'", "'12:00'", "'nonsense'",
               "'2025-02-30 12:00:00'", "'2025-03-01 24:00:00'", "'2025-3-1'", "x'323032352d30332d3031'",
               "'1969-12-31 23:59:58'", "'2200-01-01 00:00:01'", "'1970-01-01T00:59:58+01:00'",
               "'2199-12-31 22:00:00-02:30'", "'2025-03-01T12:00:00z'",
               # as other writers write times: see test_times
               "'2025-03-01T12:00:00.5Z'", "'2025-03-01 12:00:00+02:00'", "'1970-01-01T01:00:00+01:00'",
               "'2025-03-01 12:00'", "'2024-02-29'",
               # more than a microsecond, and what a text that ends at its NUL would hide
               "'2025-03-01 12:00:00.1234567'", "'2025-03-01 12:00:00.'", "'2025-03-01 12:00:00' || char(0)",
               "'2025-03-01 12:00:00.5' || char(0)", "'2025-03-01 12:00:00.123456' || char(0) || '7'"],
}  # fmt: skip
#: the constraint refuses them, but where they are they can be counted: SQLite rounds a thousandth of a second
EDGES = {"sqlite": ["'1969-12-31 23:59:59'", "'2200-01-01 00:00:00'"]}.get(connection.vendor, [])
GOOD_TIMES = {
    "mysql": ["'1970-01-01'", "'2199-12-31 23:59:59.999999'", "'2024-02-29 12:00:00'", "'2025-03-01T12:00:00'"],
    "postgresql": ["'1970-01-01 00:00:00+00'", "'2199-12-31 23:59:59.999999+00'", "'1970-01-01 01:00:00+01'"],
    "sqlite": ["'1970-01-01 00:00:00'", "'2199-12-31 23:59:59.999999'", "'2024-02-29 12:00:00.5'"],
}  # fmt: skip
#: SQL of a path or session key
BAD_TEXTS = {
    "mysql": ["''", "CONCAT('a', CHAR(0))", "CHAR(0)"],
    "postgresql": ["''"],
    "sqlite": ["''", "'a' || char(0)", "char(0)", "x'2f61'"],
}


def insert(path: str = "'/raw'", session_key: str = "'x'", viewed_at: str = f"'{GOOD}'") -> int:
    """A page view by raw SQL; gives its id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_pagestats_pageview (path, session_key, viewed_at)"
            f" VALUES ({path}, {session_key}, {viewed_at})"
        )
    return PageView.objects.order_by("pk").values_list("pk", flat=True).last() or 0


#: MariaDB as sites of old have it, without a strict sql_mode
SQL_MODES = ["", "ALLOW_INVALID_DATES"] if connection.vendor == "mysql" else [""]


@contextmanager
def lax(sql_mode: str = SQL_MODES[-1]) -> Iterator[None]:
    """What is written is as little looked at as the server can be told to."""
    if connection.vendor != "mysql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.sql_mode")
        (before,) = cursor.fetchone()
        cursor.execute("SET SESSION sql_mode = %s", [sql_mode])
        yield
        cursor.execute("SET SESSION sql_mode = %s", [before])


class TestConstraints:
    @pytest.mark.parametrize("sql_mode", SQL_MODES)
    @pytest.mark.parametrize("viewed_at", BAD_TIMES[connection.vendor] + EDGES)
    @pytest.mark.django_db
    def test_a_time_that_cannot_be_counted_is_refused(self, viewed_at: str, sql_mode: str) -> None:
        with lax(sql_mode), pytest.raises(IntegrityError, match=TIME), transaction.atomic():
            insert(viewed_at=viewed_at)
        assert not PageView.objects.exists()

    @pytest.mark.parametrize("viewed_at", GOOD_TIMES[connection.vendor])
    @pytest.mark.django_db
    def test_the_first_and_the_last_time_are_not(self, viewed_at: str) -> None:
        pk = insert(viewed_at=viewed_at)
        assert [row[0] for row in database_for("default").read_page_views(pk - 1, None, 10)] == [pk]
        assert PageView.objects.get().viewed_at.year in range(1970, 2200)

    @pytest.mark.parametrize("text", BAD_TEXTS[connection.vendor])
    @pytest.mark.django_db
    def test_a_text_that_is_none_is_refused(self, text: str) -> None:
        for column, name in (("path", PATH), ("session_key", KEY)):
            with lax(), pytest.raises(IntegrityError, match=name), transaction.atomic():
                insert(**{column: text})
        assert not PageView.objects.exists()

    @only_on("postgresql")
    @pytest.mark.django_db
    def test_postgresql_has_no_text_with_a_nul(self) -> None:
        with pytest.raises((DataError, OperationalError)), transaction.atomic():
            insert(path="chr(0)")

    @only_on("sqlite")
    @pytest.mark.django_db
    def test_sqlite_does_not_take_the_word_now_for_a_time(self) -> None:
        with pytest.raises((IntegrityError, OperationalError)), transaction.atomic():
            insert(viewed_at="'now'")

    @pytest.mark.django_db
    def test_what_the_intake_takes_the_database_takes(self) -> None:
        first, last = "1970-01-01T00:00:00+00:00", "2199-12-31T23:59:59.999999+00:00"
        times = [intake.datetime.fromisoformat(text) for text in (first, last)]
        assert intake.insert([intake.Row(" ", "\x01", intake.check_time(at)) for at in times], using="default") == 2
        assert sorted(PageView.objects.values_list("viewed_at", flat=True)) == times

    @pytest.mark.django_db
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"path": ""}, "path must have at least one character, and no NUL"),
            ({"viewed_at": "1969-12-31T00:00Z"}, "viewed_at must be a time from 1970 to 2199"),
        ],
    )
    def test_a_form_says_it_beforehand(self, values: dict[str, Any], message: str) -> None:
        view = PageView(**{"path": "/", "session_key": "x", "viewed_at": f"{GOOD}Z", **values})
        with pytest.raises(ValidationError, match=message):
            view.validate_constraints()


def each_bad() -> Iterator[int]:
    """The id of a page view that cannot be counted, with good ones before and after it: of each kind in turn."""
    for viewed_at in BAD_TIMES[connection.vendor]:
        make_page_views(20)
        with rows_of_any_kind():
            pk = insert(viewed_at=viewed_at)
        make_page_views(20, seed=1)
        yield pk
        PageView.objects.all().delete()
        Generation.objects.filter(runs=None)._raw_delete("default")


ANSWERS: dict[str, Callable[[], Any]] = {
    "page views": stats.count_page_views,
    "visitors": stats.count_unique_visitors,
    "visitors of some days": lambda: stats.count_unique_visitors(start=date(2025, 3, 1), end=date(2025, 3, 9)),
    "paths": stats.count_paths,
    "top pages": stats.top_pages,
    "days": lambda: stats.time_series("day", date(2025, 3, 1), date(2025, 3, 9)),
    "summary": stats.summary,
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_settling")
class TestBoundary:
    """Rows that are there all the same, from before the constraints or without them."""

    @pytest.mark.once
    @pytest.mark.parametrize("limit", [50_000, 5], ids=["short tail", "long tail"])
    def test_every_answer_names_the_page_view(self, limit: int, settings: Any) -> None:
        settings.PAGESTATS_TAIL_LIMIT = limit
        for bad in each_bad():
            for name, answer in ANSWERS.items():
                with pytest.raises(UncountablePageViewError, match=rf"^Page view {bad} .*viewed_at is ") as raised:
                    answer()
                assert f"DELETE FROM django_pagestats_pageview WHERE id = {bad})" in str(raised.value), name

    @pytest.mark.once
    def test_a_run_fails_with_its_name_and_goes_on_once_it_is_deleted(self) -> None:
        counted = 0
        for bad in each_bad():
            links = Links()
            links.start()
            links.drain()
            assert the_run().status == BackfillRun.Status.FAILED
            assert the_run().error.startswith(f"Page view {bad} cannot be counted: its viewed_at is ")
            PageView.objects.filter(pk=bad).delete()
            links.start()
            links.drain()
            assert the_run().status == BackfillRun.Status.SUCCEEDED
            counted += 40
            assert stats.count_page_views() == counted

    def test_keeping_up_names_it(self) -> None:
        for bad in each_bad():
            with pytest.raises(UncountablePageViewError, match=rf"^Page view {bad} "):
                folding.keep_up("default", seconds=5)

    def test_summary_names_one_that_was_changed_after_it_was_counted(self) -> None:
        for viewed_at in BAD_TIMES[connection.vendor]:
            first = make_page_views(3)[0].id
            folding.keep_up("default", seconds=5)
            with rows_of_any_kind(), connection.cursor() as cursor:
                cursor.execute(f"UPDATE django_pagestats_pageview SET viewed_at = {viewed_at} WHERE id = {first}")
            try:
                assert stats.summary().page_views == 3
            except UncountablePageViewError as error:
                assert str(error).startswith(f"Page view {first} cannot be counted: its viewed_at is ")
            PageView.objects.all().delete()
            Generation.objects.filter(runs=None)._raw_delete("default")
            Aggregate.objects.all()._raw_delete("default")

    def test_verify_names_it_and_says_so_by_its_exit_status(self) -> None:
        for bad in each_bad():
            # below the cursor: whoever dropped the constraint has changed a page view that was counted
            Generation.objects.create(cursor=bad, time_zone="UTC", is_active=True, created_at=f"{GOOD}Z")
            found = [difference for difference in Verification("default") if difference.what == What.UNCOUNTABLE]
            assert [difference.subject for difference in found] == [f"page view {bad}"]
            out = StringIO()
            with pytest.raises(CommandError, match="1 difference"):
                call_command("verify_aggregates", stdout=out)
            assert f"Page view {bad} cannot be counted: its viewed_at is " in out.getvalue()


@only_on("sqlite")
@pytest.mark.django_db
@pytest.mark.parametrize("column", ["path", "session_key"])
def test_bytes_are_no_text(column: str) -> None:
    with rows_of_any_kind():
        pk = insert(**{column: "x'2f61'"})
    for limit in (1, None):
        with pytest.raises(UncountablePageViewError, match=rf"^Page view {pk} .* {column} is X'2F61', .* not text"):
            database_for("default").read_page_views(0, limit and pk, 10)
    with pytest.raises(UncountablePageViewError, match=rf"^Page view {pk} "):
        database_for("default").check_countable(0, pk)


@pytest.mark.django_db
def test_what_can_be_counted_is_not_refused_for_its_text() -> None:
    """Empty, or with a NUL: the constraints keep it out, but where it is, it is counted like any other."""
    for text in BAD_TEXTS[connection.vendor]:
        if not text.startswith("x'"):
            with rows_of_any_kind():
                insert(path=text, session_key=text)
    assert stats.count_page_views() == PageView.objects.count() > 0
