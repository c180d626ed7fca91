from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection, connections, models
from django.test.utils import isolate_apps

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing import Fields, Progress, Skip, Summary, import_model
from django_pagestats.models import ImportSource, PageView

NOON = datetime(2025, 5, 17, 12, tzinfo=timezone.utc)
ENTRY = Fields(path="object_repr", session="user_id", time="action_time")


def entries(*paths: str, user: User | None = None, at: datetime = NOON, using: str = "default") -> list[LogEntry]:
    """Rows of a table that every Django project has, with a path, a user and a time."""
    user = user or User.objects.using(using).get_or_create(username="ann")[0]
    return [
        LogEntry.objects.using(using).create(user_id=user.pk, object_repr=path, action_time=at, action_flag=1)
        for path in paths
    ]


def load(model: type[models.Model] = LogEntry, fields: Fields = ENTRY, **options: Any) -> Summary:
    return import_model(model, fields=fields, **options)


def paths() -> list[str]:
    return list(PageView.objects.order_by("pk").values_list("path", flat=True))


@pytest.mark.django_db
class TestImportModel:
    def test_rows_become_page_views(self) -> None:
        made = entries("/a?b", "https://example.com/c%20d")
        summary = load()
        assert (summary.read, summary.imported, summary.skipped) == (2, 2, {})
        assert list(PageView.objects.order_by("pk").values_list("path", "session_key", "viewed_at")) == [
            ("/a", str(made[0].user_id), NOON),
            ("/c d", str(made[0].user_id), NOON),
        ]

    @pytest.mark.parametrize("chunk_rows", [1, 2, 3, 100])
    def test_again_and_grown(self, chunk_rows: int) -> None:
        entries("/a", "/b", "/c")
        seen: list[Progress] = []
        assert load(chunk_rows=chunk_rows, on_progress=seen.append).imported == 3
        assert seen[-1] == Progress(3, 3, 3)
        assert load(chunk_rows=chunk_rows).read == 0
        entries("/d")
        summary = load(chunk_rows=chunk_rows)
        assert (summary.read, summary.imported, len(summary.notes)) == (1, 1, 1)
        assert paths() == ["/a", "/b", "/c", "/d"]
        assert ImportSource.objects.get().rows_imported == 4

    def test_fields_along_foreign_keys(self) -> None:
        entries("/a")
        load(fields=Fields("object_repr", "user__username", "user__date_joined"))
        assert PageView.objects.get().session_key == "ann"

    def test_bad_values_are_counted_and_shown(self) -> None:
        made = entries("a", "", "/%00", "/ok")
        entries("/then", at=NOON.replace(year=1900))
        LogEntry.objects.filter(pk=made[3].pk).update(object_id=None)
        nameless = User.objects.create(username="nameless", last_name="")
        entries("/whose", user=nameless)
        User.objects.filter(username="ann").update(last_name="Lee")
        summary = load(fields=Fields("object_repr", "user__last_name", "action_time"))
        assert paths() == ["/ok"]
        assert summary.skipped == {Skip.INVALID_PATH: 3, Skip.INVALID_TIME: 1, Skip.INVALID_SESSION_KEY: 1}
        assert len(summary.examples) == 5
        assert summary.examples[0].startswith(f"primary key {made[0].pk}: the path 'a' must begin with '/'")
        assert load(fields=Fields("object_repr", "user__last_name", "action_time")).read == 0

    def test_null_is_a_bad_value(self) -> None:
        entries("/a", "/b", "/c")
        LogEntry.objects.update(object_id=None)
        LogEntry.objects.filter(object_repr="/b").update(object_id="b")
        summary = load(fields=Fields("object_repr", "object_id", "action_time"))
        assert summary.skipped == {Skip.INVALID_SESSION_KEY: 2}
        User.objects.update(last_login=NOON)
        entries("/d", user=User.objects.create(username="never", last_login=None))
        summary = load(fields=Fields("object_repr", "user_id", "user__last_login"))
        assert summary.skipped == {Skip.INVALID_TIME: 1}

    @pytest.mark.parametrize("chunk_rows", [2, 100])
    def test_a_field_of_which_no_row_is_usable_is_an_error_and_nothing_is_stored(self, chunk_rows: int) -> None:
        entries("/a", "/b", "/c")
        wrong = Fields("object_repr", "action_time", "action_time")
        for _ in range(2):
            with pytest.raises(ImportFailedError, match=r"None of the 3 rows of admin.LogEntry is a page view \(prim"):
                load(fields=wrong, chunk_rows=chunk_rows)
        assert not ImportSource.objects.exists()

    def test_unusable_rows_at_the_beginning_are_passed_over(self) -> None:
        entries("", "", "", "/d")
        assert load(chunk_rows=2).imported == 1
        assert load(chunk_rows=2).read == 0
        entries("")
        assert load().skipped == {Skip.INVALID_PATH: 1}

    def test_keys_that_are_text(self) -> None:
        fields = Fields("session_data", "session_key", "expire_date")
        for key in ("b", "C", "a b", "10", "9", "é", "'"):
            Session.objects.create(session_key=key, session_data=f"/{key}", expire_date=NOON)
        assert load(Session, fields, chunk_rows=2).imported == 7
        assert load(Session, fields).read == 0
        assert set(paths()) == {"/b", "/C", "/a b", "/10", "/9", "/é", "/'"}

    def test_rows_that_appear_behind_the_position_are_told(self) -> None:
        """A key that does not grow, or a transaction that was still open."""
        fields = Fields("session_data", "session_key", "expire_date")
        Session.objects.create(session_key="m", session_data="/m", expire_date=NOON)
        load(Session, fields)
        assert len(load(Session, fields).notes) == 1
        Session.objects.create(session_key="a", session_data="/a", expire_date=NOON)
        Session.objects.create(session_key="z", session_data="/z", expire_date=NOON)
        summary = load(Session, fields)
        assert summary.imported == 1
        assert "At least 1 rows appeared at or below that key" in summary.notes[1]

    def test_other_fields_are_another_import(self) -> None:
        entries("/a")
        load()
        assert load(fields=ENTRY._replace(session="user__username")).imported == 1
        assert ImportSource.objects.count() == 2

    def test_statements_do_not_grow_with_the_position(self, django_assert_max_num_queries: Any) -> None:
        entries(*["/"] * 30)
        with django_assert_max_num_queries(3 * 8 + 6):
            load(chunk_rows=10)

    @pytest.mark.parametrize(
        ("model", "fields", "message"),
        [
            (PageView, Fields("path", "session_key", "viewed_at"), "is where the imported page views go"),
            (
                LogEntry,
                Fields("url", "user_id", "action_time"),
                "admin.LogEntry has no field 'url': it has action_flag,",
            ),
            (LogEntry, Fields("object_repr", "user__nick", "action_time"), "auth.User has no field 'nick'"),
            (LogEntry, Fields("object_repr__x", "user", "action_time"), "object_repr is no foreign key"),
            (LogEntry, Fields("object_repr", "user__groups", "action_time"), "groups of auth.User has not one value"),
            (User, Fields("username", "logentry", "date_joined"), "logentry of auth.User has not one value"),
            (
                LogEntry,
                Fields("object_repr", "user", "object_id"),
                "object_id of admin.LogEntry is a TextField: name a D",
            ),
        ],
    )
    def test_what_will_not_do(self, model: Any, fields: Fields, message: str) -> None:
        with pytest.raises(ImportFailedError, match=message):
            load(model, fields)


@pytest.fixture
def table(transactional_db: None) -> Iterator[Any]:
    """Makes the tables of models that belong to a test."""
    made: list[type[models.Model]] = []

    def make(*created: type[models.Model]) -> None:
        with connection.schema_editor() as editor:
            for model in created:
                editor.create_model(model)
                made.append(model)

    yield make
    with connection.schema_editor() as editor:
        for model in reversed(made):
            editor.delete_model(model)


class TestKeys:
    fields = Fields("path", "who", "at")

    def rows(self, model: Any, keys: list[Any]) -> None:
        for number, key in enumerate(keys):
            model.objects.create(key=key, path=f"/{number}", who=uuid.uuid5(uuid.NAMESPACE_URL, "who"), at=NOON)

    @pytest.mark.parametrize(
        ("field", "keys"),
        [
            (models.UUIDField(primary_key=True), [uuid.uuid4() for _ in range(7)]),
            (models.DateTimeField(primary_key=True), [NOON + timedelta(microseconds=n * 333_333) for n in range(7)]),
            (models.DecimalField(primary_key=True, max_digits=5, decimal_places=2), [9, 10, -1, 2, 0.5, 3, 4]),
        ],
        ids=["uuid", "datetime", "decimal"],
    )
    def test_other_primary_keys(self, table: Any, field: Any, keys: list[Any]) -> None:
        with isolate_apps("testproject"):

            class Keyed(models.Model):
                key = field.clone()
                path = models.TextField()
                who = models.UUIDField()
                at = models.DateTimeField()

                class Meta:
                    app_label = "testproject"

                def __str__(self) -> str:
                    return self.path

        table(Keyed)
        self.rows(Keyed, keys)
        assert load(Keyed, self.fields, chunk_rows=2).imported == 7
        assert load(Keyed, self.fields).read == 0
        assert sorted(paths()) == [f"/{number}" for number in range(7)]
        assert PageView.objects.values("session_key").distinct().get() == {
            "session_key": str(uuid.uuid5(uuid.NAMESPACE_URL, "who"))
        }

    def test_a_key_that_links_to_a_parent(self, table: Any) -> None:
        with isolate_apps("testproject"):

            class Parent(models.Model):
                path = models.TextField()

                class Meta:
                    app_label = "testproject"

                def __str__(self) -> str:
                    return self.path

            class Child(Parent):
                who = models.TextField()
                at = models.DateTimeField()

                class Meta:
                    app_label = "testproject"

                def __str__(self) -> str:
                    return self.path

        table(Parent, Child)
        for number in range(3):
            Child.objects.create(path=f"/{number}", who="ann", at=NOON)
        assert load(Child, self.fields, chunk_rows=2).imported == 3
        assert load(Child, self.fields).read == 0
        assert json.loads(ImportSource.objects.get().position)[1] == 3

    def test_composite_keys_are_refused(self) -> None:
        with isolate_apps("testproject"):

            class Composite(models.Model):
                pk = models.CompositePrimaryKey("path", "who")
                path = models.TextField()
                who = models.TextField()
                at = models.DateTimeField()

                class Meta:
                    app_label = "testproject"

                def __str__(self) -> str:
                    return self.path

        with pytest.raises(ImportFailedError, match="Composite has a composite primary key"):
            load(Composite, self.fields)


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    def test_position_and_page_views_are_one(self) -> None:
        entries("/a", "/b", "/c", "/d")
        updates = 0

        class StoppedError(Exception):
            pass

        def stop(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal updates
            updates += sql.startswith("UPDATE")
            if updates == 3:  # the last one of the second chunk
                raise StoppedError
            return execute(sql, params, many, context)

        with pytest.raises(StoppedError), connection.execute_wrapper(stop):
            load(chunk_rows=2)
        assert paths() == ["/a", "/b"]
        load(chunk_rows=2)
        assert paths() == ["/a", "/b", "/c", "/d"]

    @pytest.mark.parametrize("is_new", [True, False])
    def test_another_process_at_the_same_table(self, is_new: bool) -> None:
        """It imports the whole table between our reading a chunk and our storing it."""
        entries("/a")
        if not is_new:
            load()
        entries("/b")
        ran = False

        def other(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal ran
            result = execute(sql, params, many, context)
            if not ran and "object_repr" in sql:
                ran = True
                load()
            return result

        with pytest.raises(ImportFailedError, match="another process"), connection.execute_wrapper(other):
            load()
        assert paths() == ["/a", "/b"]

    def test_the_source_may_be_in_another_database(self, tmp_path: Any) -> None:
        """Its alias is part of what is imported; the position is kept with the page views."""
        connections.settings["legacy"] = {
            **connections.configure_settings({"default": {"ENGINE": "django.db.backends.sqlite3"}})["default"],
            "NAME": str(tmp_path / "legacy.sqlite3"),
        }
        try:
            connections["legacy"].connect()  # the test case keeps databases shut that are not its own
            with connections["legacy"].schema_editor() as editor:
                for model in (User, LogEntry._meta.get_field("content_type").related_model, LogEntry):
                    editor.create_model(model)
            entries("/old", using="legacy")
            entries("/new")
            assert load(source_using="legacy").imported == 1
            assert load(source_using="legacy").read == 0
            assert paths() == ["/old"]
            assert load().imported == 1
        finally:
            connections["legacy"].close()
            del connections["legacy"]
            del connections.settings["legacy"]
