"""The migrations: complete, reversible, and the same on every database."""

from __future__ import annotations

from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction

from django_pagestats.models import PageView, Subject, Visitor

APP = "django_pagestats"


def own_models() -> list[type[models.Model]]:
    return list(apps.get_app_config(APP).get_models())


def own_tables() -> set[str]:
    return {name for name in connection.introspection.table_names() if name.startswith(f"{APP}_")}


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.django_db
def test_the_package_migrates_nothing_but_itself() -> None:
    out = StringIO()
    call_command("showmigrations", APP, "--plan", stdout=out)
    assert {line.split()[-1].split(".")[0] for line in out.getvalue().splitlines() if line.strip()} == {APP}


@pytest.mark.django_db(transaction=True)
def test_every_migration_goes_back_and_forth() -> None:
    wanted = {model._meta.db_table for model in own_models()}
    assert own_tables() == wanted
    try:
        call_command("migrate", APP, "zero", verbosity=0)
        assert own_tables() == set()
    finally:
        call_command("migrate", APP, verbosity=0)
    assert own_tables() == wanted


@pytest.mark.django_db
@pytest.mark.parametrize("model", own_models(), ids=lambda model: model.__name__)
def test_every_index_and_constraint_of_the_model_is_there_under_its_name(model: type[models.Model]) -> None:
    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, model._meta.db_table)
    named = {index.name for index in model._meta.indexes} | {it.name for it in model._meta.constraints}
    assert named <= set(there)


@pytest.mark.django_db
def test_a_raw_insert_of_three_columns_will_do() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_pagestats_pageview (path, session_key, viewed_at) VALUES (%s, %s, %s)",
            ["/raw", "x", "2025-03-01 12:00:00"],
        )
    assert PageView.objects.get().path == "/raw"


#: pairs that some collation of some database takes for equal
NEARLY_EQUAL = [
    ("/A", "/a"),
    ("/x", "/x "),
    ("/e\u0301", "/é"),
    ("/ss", "/ß"),
    ("/\U0001f600", "/\U0001f601"),
    ("/", "/\u200b"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("one", "other"), NEARLY_EQUAL)
def test_text_is_compared_byte_by_byte(one: str, other: str) -> None:
    for text in (one, other):
        Visitor.objects.create(session_key=text)
        PageView.objects.create(path=text, session_key=text, viewed_at="2025-03-01T12:00Z")
    for text in (one, other):
        assert Visitor.objects.get(session_key=text).session_key == text
        assert [view.path for view in PageView.objects.filter(path=text, session_key=text)] == [text]
    with pytest.raises(IntegrityError), transaction.atomic():
        Visitor.objects.create(session_key=one)


@pytest.mark.django_db
def test_the_longest_text_fits_whole() -> None:
    path, key = "/" + "\U0001f600" * 2_047, "\U0001f600" * 255
    PageView.objects.create(path=path, session_key=key, viewed_at="2025-03-01T12:00Z")
    Subject.objects.create(dimension=2, value=path, digest="0" * 64)
    Visitor.objects.create(session_key=key)
    assert PageView.objects.get().path == Subject.objects.get().value == path
    assert PageView.objects.get().session_key == Visitor.objects.get().session_key == key
