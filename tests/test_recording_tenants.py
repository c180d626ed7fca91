"""A schema for each tenant: each page view keeps that of its request, whoever writes it and when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_pagestats.middleware import PageViewMiddleware
from django_pagestats.models import LeftOut, PageView
from django_pagestats.recording import buffering, flush, record_page_view
from testproject.load import BROWSER
from testproject.settings import KIND
from tests.recorders import as_a_site

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(KIND != "postgresql", reason="tenants have schemas on PostgreSQL only"),
]

SCHEMAS = ("first", "second")


@pytest.fixture
def tenants(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The default connection, of every thread, has schemas; there are two, with tables of ours."""
    models = apps.get_app_config("django_pagestats").get_models()
    tables = [model._meta.db_table for model in models if not model._meta.proxy]
    with connection.cursor() as cursor:
        for schema in SCHEMAS:
            cursor.execute(f"CREATE SCHEMA {schema}")
            for table in tables:
                cursor.execute(f"CREATE TABLE {schema}.{table} (LIKE public.{table} INCLUDING ALL)")
    plain = connections["default"]
    plain.close()
    settings = {**plain.settings_dict, "ENGINE": "tests.tenants"}
    monkeypatch.setitem(connections.settings, "default", settings)
    del connections["default"]
    try:
        yield connections["default"]
    finally:
        connections["default"].close()
        connections["default"] = plain
        with connection.cursor() as cursor:
            for schema in SCHEMAS:
                cursor.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def buffered(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.PAGESTATS_BUFFER = True
    settings.PAGESTATS_BUFFER_SECONDS = 600
    with as_a_site(monkeypatch):
        yield


def stored(schema: str) -> list[str]:
    with connections["default"].cursor() as cursor:
        cursor.execute(f"SELECT path FROM {schema}.{PageView._meta.db_table} ORDER BY id")
        return [path for (path,) in cursor.fetchall()]


def test_buffered(tenants: Any, buffered: None) -> None:
    for number, schema in enumerate(["first", "second", "first", "public", "second"]):
        tenants.set_schema(schema)
        assert record_page_view(path=f"/{number}", session_key="k")
    flush()
    assert (stored("first"), stored("second"), stored("public")) == (["/0", "/2"], ["/1", "/4"], ["/3"])


def test_requests_of_several_threads(tenants: Any, buffered: None) -> None:
    def visit(schema: str) -> None:
        connections["default"].set_schema(schema)  # type: ignore[attr-defined]
        for number in range(50):
            assert record_page_view(path=f"/{schema}/{number}", session_key="k")
        connections["default"].close()

    visitors = [threading.Thread(target=visit, args=(schema,)) for schema in SCHEMAS]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    flush()
    for schema in SCHEMAS:
        assert stored(schema) == [f"/{schema}/{number}" for number in range(50)]


def test_flushed_by_a_test_its_tenant_stays(tenants: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PAGESTATS_BUFFER = True
    monkeypatch.setattr(buffering, "_buffer", buffering.Buffer())
    tenants.set_schema("first")
    record_page_view(path="/a", session_key="k")
    tenants.set_schema("second")
    flush()
    assert tenants.schema_name == "second"
    assert stored("first") == ["/a"]


def test_a_schema_without_tables_keeps_no_other_from_being_written(tenants: Any, buffered: None) -> None:
    tenants.set_schema("nowhere")
    record_page_view(path="/lost", session_key="k")
    tenants.set_schema("first")
    record_page_view(path="/a", session_key="k")
    flush()
    assert stored("first") == ["/a"]
    assert buffering.size() == 1


def test_what_is_left_out_is_the_tenants(tenants: Any, buffered: None) -> None:
    tenants.set_schema("first")
    record_page_view(path="", session_key="k")
    tenants.set_schema("public")
    flush()
    with tenants.cursor() as cursor:
        cursor.execute(f"SELECT reason, count FROM first.{LeftOut._meta.db_table}")
        assert cursor.fetchall() == [("invalid_path", 1)]
    assert not LeftOut.objects.exists()


def test_an_event_loop_that_does_not_know_the_tenant(
    tenants: Any, buffered: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Better not recorded, and said, than recorded as another tenant's."""

    async def view() -> bool:
        return record_page_view(path="/", session_key="k")

    assert asyncio.run(view()) is False
    assert "record its page view by sync_to_async" in caplog.text
    assert buffering.size() == 0


def test_the_middleware_takes_a_thread_for_it(tenants: Any, buffered: None, settings: Any) -> None:
    """That of the request, in which the tenant was set."""
    settings.PAGESTATS_ENABLED = True

    def forget_connection() -> None:
        """That thread's: of a test before it knows no schema, and of this one the next test's would be in it."""
        connections["default"].close()
        del connections["default"]

    def choose_tenant() -> None:
        forget_connection()
        connections["default"].set_schema("first")  # type: ignore[attr-defined]

    async def view(request: HttpRequest) -> HttpResponse:
        await sync_to_async(choose_tenant)()
        return HttpResponse("<!doctype html>")

    async def serve() -> None:
        middleware: Any = PageViewMiddleware(view)
        meta = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in BROWSER.items()}
        await middleware(RequestFactory().get("/a/", **meta))
        await sync_to_async(forget_connection)()

    asyncio.run(serve())
    flush()
    assert stored("first") == ["/a/"]
