"""The admin's list and pages of generations, and their buttons."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from django_pagestats import backfill, folding, stats
from django_pagestats.admin import generations
from django_pagestats.exceptions import AutocommitOffError
from django_pagestats.models import Aggregate, Generation
from tests.chains import Links, active_generation, assert_exact, the_run
from tests.factories import make_page_views
from tests.patching import replace
from tests.test_admin import Inline, level_tags, log_in, messages_of, root
from tests.test_generations import ANSWERS, DOOMED, KEPT, fate, rebuild, two_generations

__all__ = ["root"]  # the fixture
pytestmark = pytest.mark.usefixtures("no_settling")

GENERATIONS = "/admin/django_pagestats/generation/"


def url(generation: Generation, verb: str = "change") -> str:
    return f"{GENERATIONS}{generation.pk}/{verb}/"


def cells(client: Client, name: str) -> list[str]:
    """A column of the list, the newest generation first."""
    page = client.get(GENERATIONS).content.decode()
    return [
        re.sub("<[^>]*>", "", cell) for cell in re.findall(rf'<t[dh] class="field-{name}[^"]*">(.*?)</t[dh]>', page)
    ]


def buttons(client: Client, generation: Generation) -> list[str]:
    page = client.get(url(generation)).content.decode()
    return re.findall(rf'href="{GENERATIONS}{generation.pk}/(activate|discard)/"', page)


# -- looking


def test_the_list_says_what_each_is_there_for_and_how_large_it_is(root: Client) -> None:
    old, new = two_generations()
    gone = Generation.objects.create(time_zone="UTC", created_at=old.created_at, doomed_at=old.kept_at)
    Generation.objects.create(time_zone="UTC", created_at=old.created_at, doomed_at=old.kept_at, swept_at=old.kept_at)
    Aggregate.objects.create(
        generation=gone.pk, dimension=1, granularity=2, bucket=1, subject=0, page_views=1, visitors=1, visitor_set=b""
    )
    links = Links()
    links.start("rebuild", chunk_size=10)
    links.deliver_next()
    assert cells(root, "state") == ["being built", "deleted", "being deleted", "answers", "kept"]
    assert cells(root, "page_views") == ["10", "-", "-", "40", "30"]
    rows = [f"{Aggregate.objects.filter(generation=it.pk).count()}" for it in (new, old)]
    assert cells(root, "rows") == ["-", "-", "-", *rows]
    assert cells(root, "built_by")[0] == f"run {the_run().pk}" and cells(root, "built_by")[4] == "-"
    backfill.cancel("default", via="test")
    links.drain()
    assert cells(root, "state")[0] == "left over"


def test_a_run_that_is_at_work_on_it_has_its_rows_not_counted(root: Client) -> None:
    make_page_views(30)
    links = Links()
    links.start(chunk_size=10)
    links.deliver_next()
    assert (cells(root, "state"), cells(root, "rows")) == (["answers"], ["-"])
    links.drain()
    assert cells(root, "rows") == [f"{Aggregate.objects.count()}"]


def test_large_ones_are_not_counted_to_the_end(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _ = two_generations()
    rows = Aggregate.objects.filter(generation=old.pk).count()
    monkeypatch.setattr(generations, "LIST_ROWS", rows - 1)
    monkeypatch.setattr(generations, "PAGE_ROWS", rows)
    assert cells(root, "rows")[1] == f"more than {rows - 1}"
    assert f'<div class="readonly">{rows}</div>' in root.get(url(old)).content.decode()
    monkeypatch.setattr(generations, "PAGE_ROWS", rows - 1)
    assert f'<div class="readonly">more than {rows - 1}</div>' in root.get(url(old)).content.decode()


@pytest.mark.django_db
def test_rows_are_counted_by_the_primary_key() -> None:
    make_page_views(30)
    backfill.run_here("default", via="test")
    number = active_generation().pk
    with CaptureQueriesContext(connection) as seen:
        assert backfill.count_rows("default", number, 10) == 11
    sql = seen[0]["sql"]
    assert "ORDER BY" in sql and "LIMIT 11" in sql
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # of a table as small as this it would rather read all
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{sql}")
        plan = str(cursor.fetchall())
    assert any(name in plan for name in ("aggregate_pkey", "sqlite_autoindex_django_pagestats_aggregate", "PRIMARY"))
    assert not any(word in plan for word in ("Sort", "TEMP B-TREE", "filesort"))


def test_the_list_counts_no_more_for_generations_that_are_gone(root: Client) -> None:
    two_generations()
    with CaptureQueriesContext(connection) as few:
        root.get(GENERATIONS)
    for _ in range(5):
        rebuild(keep_old=False)
    folding.sweep("default")
    with CaptureQueriesContext(connection) as many:
        root.get(GENERATIONS)
    assert len(many) == len(few)


# -- buttons


def test_only_kept_ones_have_buttons(root: Client) -> None:
    old, new = two_generations()
    assert buttons(root, old) == ["activate", "discard"]
    assert buttons(root, new) == []
    assert root.get(f"{GENERATIONS}77/change/").status_code == 302
    assert root.get(f"{GENERATIONS}77/activate/").status_code == 404


def test_what_is_logged_is_english_whoever_reads_the_answer(root: Client) -> None:
    old, _ = two_generations()
    with translation.override("de"):
        page = root.post(url(old, "discard"), follow=True)
        assert messages_of(page)[0].startswith(f"Generation {old.pk} wird nicht mehr aufbewahrt: Ihre Aggregate")
    assert LogEntry.objects.get().change_message.startswith(f"Generation {old.pk} is kept no longer: its aggregates")


@pytest.mark.parametrize("keep_old", [True, False])
def test_a_button_makes_it_answer_again(root: Client, keep_old: bool) -> None:
    old, new = two_generations()
    asked = root.get(url(old, "activate")).content.decode()
    assert f"Keep generation {new.pk}, which answers now" in asked
    assert (fate(old), fate(new)) == (KEPT, ANSWERS)
    page = root.post(url(old, "activate"), {"keep_old": "on"} if keep_old else {}, follow=True)
    assert page.redirect_chain[-1][0] == url(old)
    assert level_tags(page) == ["success"] and messages_of(page)[0].startswith(f"Generation {old.pk} answers again.")
    assert (fate(old), fate(new)) == (ANSWERS, KEPT if keep_old else DOOMED)
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user.get_username()) == (str(old.pk), "root")
    assert entry.get_change_message() == messages_of(page)[0].rstrip(".")
    assert level_tags(root.post(url(old, "activate"), follow=True)) == ["info"]
    assert LogEntry.objects.count() == 1
    assert stats.count_page_views() == 40
    assert_exact()


def test_a_button_deletes(root: Client) -> None:
    old, new = two_generations()
    assert "Yes, delete them" in root.get(url(old, "discard")).content.decode()
    assert fate(old) == KEPT
    page = root.post(url(old, "discard"), follow=True)
    assert level_tags(page) == ["success"] and "are deleted in chunks" in messages_of(page)[0]
    assert (fate(old), fate(new)) == (DOOMED, ANSWERS)
    assert level_tags(root.post(url(new, "discard"), follow=True)) == ["warning"]
    assert root.get(url(old, "discard"))["Location"] == url(old), "there is nothing to ask any more"


def test_what_is_refused_is_said(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = two_generations()
    make_page_views(10, seed=2)
    Links().start()
    page = root.post(url(old, "activate"), follow=True)
    assert level_tags(page) == ["warning"] and f"Run {the_run().pk} (backfill) is queued" in messages_of(page)[0]
    backfill.cancel("default", via="test")
    replace(monkeypatch.setattr, folding.check_autocommit, refuse)
    page = root.post(url(old, "activate"), follow=True)
    assert (level_tags(page), messages_of(page)) == (["error"], ["Autocommit is off."])
    assert (fate(old), fate(new)) == (KEPT, ANSWERS)


def refuse(using: str) -> None:
    raise AutocommitOffError("Autocommit is off.")


@pytest.mark.django_db
@pytest.mark.parametrize("permissions", [["view_generation"], ["view_backfillrun"], ["change_backfillrun"], []])
@pytest.mark.parametrize("verb", ["activate", "discard"])
def test_the_buttons_need_the_permission_to_change_generations(verb: str, permissions: list[str]) -> None:
    old, _ = two_generations()
    client = log_in(*permissions)
    assert client.post(url(old, verb)).status_code == client.get(url(old, verb)).status_code == 403
    assert fate(old) == KEPT
    if "view_generation" in permissions:
        assert buttons(client, old) == []


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["activate", "discard"])
def test_who_may_change_generations_may_do_it_with_a_csrf_token(verb: str) -> None:
    old, _ = two_generations()
    client = log_in("view_generation", "change_generation", enforce_csrf_checks=True)
    assert buttons(client, old) == ["activate", "discard"]
    assert client.post(url(old, verb)).status_code == 403
    assert fate(old) == KEPT
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(url(old, verb)).content.decode())
    assert token is not None
    assert client.post(url(old, verb), {"csrfmiddlewaretoken": token[1]}).status_code == 302
    assert fate(old) == (ANSWERS if verb == "activate" else DOOMED)


@pytest.mark.django_db(transaction=True)
def test_where_each_request_is_a_transaction(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be one of the site's isolation level, that may not see a run which began meanwhile."""
    old, _ = two_generations()
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert root.post(url(old, "activate")).status_code == 302
    assert fate(old) == ANSWERS


def test_no_inline_script_or_style(root: Client) -> None:
    old, _ = two_generations()
    for page in GENERATIONS, url(old), url(old, "activate"), url(old, "discard"):
        parser = Inline()
        parser.feed(text := root.get(page).content.decode())
        assert parser.found == [], page
        assert "django_pagestats/admin.css" in text
